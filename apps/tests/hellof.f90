! SPDX-License-Identifier: MIT OR Apache-2.0

! As hello.c, in Fortran: arguments, a variable, formatted and unformatted files, arrays.

program hello
   use, intrinsic :: iso_fortran_env, only: error_unit, int64, real64
   implicit none
   integer :: i, length, status

   print '(a)', 'hello from Fortran'
   do i = 1, command_argument_count()
      call print_argument(i)
   end do
   call get_environment_variable('HELLO_ENV', length=length, status=status)
   if (status == 0) then
      print '(a,i0,a)', 'HELLO_ENV has ', length, ' characters'
   else
      print '(a)', 'HELLO_ENV is not set'
   end if
   call arrays()
   call files()
   print '(a,f8.6)', 'pi = ', 4*atan(1.0_real64)

contains

   subroutine print_argument(i)
      integer, intent(in) :: i
      character(len=:), allocatable :: text
      integer :: length

      call get_command_argument(i, length=length)
      allocate (character(len=length) :: text)
      call get_command_argument(i, text)
      print '(a,i0,3a)', 'argument ', i, ' = [', text, ']'
   end subroutine

   subroutine arrays()
      real(real64), allocatable :: a(:, :), b(:, :), c(:, :)
      integer :: i, j
      integer, parameter :: n = 100

      allocate (a(n, n), b(n, n))
      do concurrent(i=1:n, j=1:n)
         a(i, j) = i + j
         b(i, j) = merge(1, 0, i == j)
      end do
      c = matmul(a, b)
      if (any(abs(c - a) > 0)) call fail('the product is wrong')
      print '(a,es12.5)', 'sum ', sum(c)
      deallocate (a)
      allocate (a(2000, 500), source=1.0_real64)
      if (nint(sum(a)) /= 1000000) call fail('the sum is wrong')
   end subroutine

   subroutine files()
      character(len=255) :: dir
      character(len=:), allocatable :: name
      integer :: unit, status, i, number
      integer(int64) :: clock
      real(real64) :: values(1000), back(1000)
      character(len=20) :: stamp
      logical :: there

      call get_environment_variable('TMPDIR', dir, status=status)
      if (status /= 0) dir = '/tmp'
      call system_clock(clock)
      write (stamp, '(i0)') clock
      name = trim(dir)//'/hellof.'//trim(stamp)
      open (newunit=unit, file=name, status='new', action='readwrite')
      do i = 1, 1000
         write (unit, '(a,i5)') 'line ', i
      end do
      rewind (unit)
      do i = 1, 1000
         read (unit, '(5x,i5)') number
         if (number /= i) call fail('a line is wrong')
      end do
      read (unit, *, iostat=status) number
      if (status >= 0) call fail('more lines than were written')
      close (unit, status='delete')
      inquire (file=name, exist=there)
      if (there) call fail('the file is still there')

      values = [(1/real(i, real64), i=1, 1000)]
      open (newunit=unit, file=name, status='new', form='unformatted', access='stream')
      write (unit) values
      read (unit, pos=1) back
      if (any(abs(back - values) > 0)) call fail('numbers are wrong')
      close (unit, status='delete')
      print '(a)', 'files: ok'
   end subroutine

   subroutine fail(why)
      character(len=*), intent(in) :: why

      write (error_unit, '(a)') why
      error stop 1
   end subroutine

end program
