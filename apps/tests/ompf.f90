! SPDX-License-Identifier: MIT OR Apache-2.0

! OpenMP in Fortran: loops of all schedules, reductions, tasks, critical regions, locks, private variables and nesting,
! with more threads than there may be CPUs.

program ompf
   use, intrinsic :: iso_fortran_env, only: error_unit, int64, real64
   use omp_lib
   implicit none
   integer, parameter :: threads = 6
   integer, save :: counter = 0
   !$omp threadprivate(counter)

   call omp_set_dynamic(.false.)
   call omp_set_num_threads(threads)
   call team()
   call loops()
   call exclusion()
   call tasks()
   call many_regions()
   call private_variables()
   print '(a,i0)', 'fibonacci(18) = ', fibonacci_of(18)
   print '(a)', 'ok'

contains

   subroutine must(condition, what)
      logical, intent(in) :: condition
      character(len=*), intent(in) :: what

      if (.not. condition) then
         write (error_unit, '(a)') what
         error stop 1
      end if
   end subroutine

   subroutine team()
      integer :: seen(0:threads - 1), me

      seen = 0
      !$omp parallel private(me)
      me = omp_get_thread_num()
      seen(me) = seen(me) + 1
      call must(omp_get_num_threads() == threads, 'not all threads came')
      call must(omp_in_parallel(), 'the team is not at work')
      !$omp end parallel
      call must(all(seen == 1), 'a thread came twice')
      print '(a,i0,a)', 'a team of ', threads, ' threads'
   end subroutine

   subroutine loops()
      integer, parameter :: n = 200000
      real(real64), allocatable :: a(:)
      integer(int64) :: total
      integer :: i, largest

      allocate (a(n))
      total = 0
      largest = 0
      !$omp parallel
      !$omp do schedule(static)
      do i = 1, n
         a(i) = i
      end do
      !$omp do schedule(dynamic, 100) reduction(+:total)
      do i = 1, n
         total = total + nint(a(i), int64)
      end do
      !$omp do schedule(guided) reduction(max:largest)
      do i = 1, n
         largest = max(largest, mod(i*7919, 99991))
      end do
      !$omp end parallel
      call must(total == int(n, int64)*(n + 1)/2, 'the sum is wrong')
      call must(largest == 99990, 'the maximum is wrong')
      !$omp parallel do simd
      do i = 1, n
         a(i) = a(i)*2 + 1
      end do
      call must(nint(sum(a), int64) == int(n, int64)*(n + 2), 'the vectors are wrong')
      print '(a,i0)', 'sum ', total
   end subroutine

   subroutine exclusion()
      integer(omp_lock_kind) :: lock
      integer :: i, in_critical, atomically, locked, singles, ordered_last

      in_critical = 0
      atomically = 0
      locked = 0
      singles = 0
      ordered_last = 0
      call omp_init_lock(lock)
      !$omp parallel private(i)
      do i = 1, 2000
         !$omp critical
         in_critical = in_critical + 1
         !$omp end critical
         !$omp atomic
         atomically = atomically + 1
         call omp_set_lock(lock)
         locked = locked + 1
         call omp_unset_lock(lock)
      end do
      do i = 1, 50
         !$omp barrier
         !$omp single
         singles = singles + 1
         !$omp end single
      end do
      !$omp do ordered schedule(dynamic)
      do i = 1, 100
         !$omp ordered
         call must(ordered_last == i - 1, 'not in order')
         ordered_last = i
         !$omp end ordered
      end do
      !$omp end parallel
      call omp_destroy_lock(lock)
      call must(in_critical == 2000*threads .and. atomically == 2000*threads, 'two were in at once')
      call must(locked == 2000*threads .and. singles == 50 .and. ordered_last == 100, 'a lock let two in')
      print '(a)', 'critical, atomic, locks, single, ordered'
   end subroutine

   recursive function fibonacci(n) result(value)
      integer, intent(in) :: n
      integer :: value, first, second

      if (n < 2) then
         value = n
         return
      end if
      !$omp task shared(first) if(n > 8)
      first = fibonacci(n - 1)
      !$omp end task
      second = fibonacci(n - 2)
      !$omp taskwait
      value = first + second
   end function

   function fibonacci_of(n) result(value)
      integer, intent(in) :: n
      integer :: value

      !$omp parallel
      !$omp single
      value = fibonacci(n)
      !$omp end single
      !$omp end parallel
   end function

   subroutine tasks()
      integer :: i, done(300), order(3)

      done = 0
      !$omp parallel
      !$omp single
      do i = 1, 300
         !$omp task firstprivate(i)
         done(i) = i
         !$omp end task
      end do
      !$omp taskwait
      call must(all(done == [(i, i=1, 300)]), 'a task was not done')
      !$omp task depend(out: order)
      order(1) = 1
      !$omp end task
      !$omp task depend(inout: order)
      order(2) = order(1) + 1
      !$omp end task
      !$omp task depend(in: order)
      order(3) = order(2) + 1
      !$omp end task
      !$omp end single
      !$omp end parallel
      call must(all(order == [1, 2, 3]), 'tasks were done in another order')
      print '(a)', 'tasks'
   end subroutine

   ! Teams that come and go, of different sizes.
   subroutine many_regions()
      integer :: i, n, total, inner

      total = 0
      do i = 1, 300
         n = 1 + mod(i, 2*threads)
         !$omp parallel num_threads(n) reduction(+:total)
         total = total + 1
         !$omp end parallel
      end do
      call must(total == sum([(1 + mod(i, 2*threads), i=1, 300)]), 'threads are missing')
      call omp_set_max_active_levels(2)
      inner = 0
      !$omp parallel num_threads(3)
      !$omp parallel num_threads(3)
      !$omp atomic
      inner = inner + 1
      !$omp end parallel
      !$omp end parallel
      call must(inner == 9, 'nested teams are not complete')
      print '(a)', 'many teams'
   end subroutine

   subroutine private_variables()
      integer :: i

      !$omp parallel
      counter = omp_get_thread_num()
      !$omp end parallel
      !$omp parallel private(i)
      call must(counter == omp_get_thread_num(), 'a private variable has changed')
      do i = 1, 1000
         counter = counter + 1
      end do
      !$omp barrier
      call must(counter == omp_get_thread_num() + 1000, 'a private variable was changed by another')
      !$omp end parallel
      print '(a)', 'private variables'
   end subroutine

end program
