// SPDX-License-Identifier: MIT OR Apache-2.0

// Go, whose run time makes threads, signals and memory its own way: pi by goroutines and channels, loops that only a
// signal can pre-empt, garbage under pressure, panics and faults recovered, sleeps, signals, threads of one's own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(good bool, what string) {
	if !good {
		panic(what)
	}
}

func pi() {
	const parts, terms = 100, 10000
	type result struct {
		part int
		sum  float64
	}
	work, results := make(chan int), make(chan result, 4)
	for i := 0; i < 8; i++ {
		go func() {
			for part := range work {
				sum := 0.0
				for k := part * terms; k < (part+1)*terms; k += 2 {
					sum += 4/float64(2*k+1) - 4/float64(2*k+3)
				}
				results <- result{part, sum}
			}
		}()
	}
	go func() {
		for part := 0; part < parts; part++ {
			work <- part
		}
		close(work)
	}()
	var sums [parts]float64
	for i := 0; i < parts; i++ {
		r := <-results
		sums[r.part] = r.sum
	}
	sum := 0.0
	for _, s := range sums {
		sum += s
	}
	fmt.Printf("%.5f ", sum)
}

// As many run as the program says, one as well.
func processors() {
	before := runtime.GOMAXPROCS(0)
	must(before >= 1 && runtime.NumCPU() >= 1, "no processor")
	for _, n := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(n)
		must(runtime.GOMAXPROCS(0) == n, "another number of processors")
		pi()
	}
	runtime.GOMAXPROCS(before)
}

func preemption() {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	var stop atomic.Bool
	var group sync.WaitGroup
	for i := 0; i < 3; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stop.Load() {
			}
		}()
	}
	time.Sleep(20 * time.Millisecond)
	stop.Store(true)
	group.Wait()
}

type node struct {
	left, right *node
	value       int
	data        []byte
}

func build(depth, value int) *node {
	if depth == 0 {
		return nil
	}
	return &node{build(depth-1, value*2), build(depth-1, value*2+1), value, make([]byte, 50)}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func garbage() {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	kept := build(12, 1)
	var group sync.WaitGroup
	for i := 0; i < 6; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := 0; round < 10; round++ {
				tree := build(10, 1)
				must(tree.sum() == 1023*1024/2, "a tree has changed")
				text := strings.Repeat("x", 100000)
				must(len(text) == 100000 && text[99999] == 'x', "a text has changed")
			}
		}()
	}
	group.Wait()
	runtime.GC()
	must(kept.sum() == 4095*4096/2, "what was kept has changed")
	finalized := make(chan bool, 1)
	func() {
		garbage := &node{data: make([]byte, 1000)}
		runtime.SetFinalizer(garbage, func(*node) { finalized <- true })
	}()
	for {
		runtime.GC()
		select {
		case <-finalized:
			debug.FreeOSMemory()
			var statistics runtime.MemStats
			runtime.ReadMemStats(&statistics)
			must(statistics.NumGC > 2 && statistics.HeapAlloc < 64<<20, "garbage was not collected")
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func recovered(run func()) (text string) {
	defer func() {
		if why := recover(); why != nil {
			text = fmt.Sprint(why)
		}
	}()
	run()
	return "nothing"
}

func panics() {
	var nothing *node
	var table map[string]int
	zero, numbers := len(os.Args)-len(os.Args), []int{1, 2, 3}
	for i := 0; i < 20; i++ {
		must(recovered(func() { panic("on purpose") }) == "on purpose", "not recovered")
		text := recovered(func() { nothing.value = 1 })
		must(strings.Contains(text, "invalid memory address or nil pointer dereference"), text)
		text = recovered(func() { numbers[0] = 1 / zero })
		must(strings.Contains(text, "integer divide by zero"), text)
		text = recovered(func() { numbers[zero+3] = 1 })
		must(strings.Contains(text, "index out of range [3] with length 3"), text)
		text = recovered(func() { table["x"] = 1 })
		must(strings.Contains(text, "assignment to entry in nil map"), text)
	}
	texts := make(chan string)
	for i := 0; i < 8; i++ {
		go func() { texts <- recovered(func() { fmt.Print(nothing.data) }) }()
	}
	for i := 0; i < 8; i++ {
		text := <-texts
		must(strings.Contains(text, "nil pointer dereference"), text)
	}
}

func sleeps() {
	before := time.Now()
	time.Sleep(20 * time.Millisecond)
	must(time.Since(before) >= 20*time.Millisecond, "too short a sleep")
	ticker := time.NewTicker(2 * time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ticker.Stop()
	expires, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-expires.Done()
	must(expires.Err() == context.DeadlineExceeded, "another end")
	var group sync.WaitGroup
	for i := 0; i < 1000; i++ {
		group.Add(1)
		go func(ms int) {
			defer group.Done()
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}(i % 20)
	}
	group.Wait()
}

func goroutines() {
	const many = 10000
	var lock sync.Mutex
	var group sync.WaitGroup
	var atomically atomic.Int64
	count := 0
	gate := make(chan bool)
	for i := 0; i < many; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			<-gate
			lock.Lock()
			count++
			lock.Unlock()
			atomically.Add(1)
		}()
	}
	close(gate)
	group.Wait()
	must(count == many && atomically.Load() == many, "some got lost")
	// Round a ring of 500.
	first := make(chan int)
	last := first
	for i := 0; i < 500; i++ {
		next := make(chan int)
		go func(from <-chan int, to chan<- int) {
			for n := range from {
				to <- n + 1
			}
			close(to)
		}(last, next)
		last = next
	}
	for i := 0; i < 20; i++ {
		go func() { first <- 0 }()
		must(<-last == 500, "the ring is broken")
	}
	close(first)
}

// Stacks grow by being copied.
func recurse(depth int, above *int) int {
	var here [16]int
	here[depth%16] = *above + 1
	if depth == 0 {
		return here[0]
	}
	return recurse(depth-1, &here[depth%16])
}

func stacks() {
	results := make(chan int)
	for i := 0; i < 4; i++ {
		go func() {
			start := 0
			results <- recurse(50000, &start)
		}()
	}
	for i := 0; i < 4; i++ {
		must(<-results == 50001, "a stack was not copied well")
	}
}

func signals() {
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(arrived)
	for _, number := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGUSR1} {
		must(syscall.Kill(os.Getpid(), number) == nil, "can't send a signal")
		must(<-arrived == number, "another signal")
	}
}

func threads() {
	var group sync.WaitGroup
	ids := make(chan int, 20)
	gate := make(chan bool)
	for i := 0; i < cap(ids); i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			// It ends with a thread of its own, which ends, too.
			runtime.LockOSThread()
			ids <- syscall.Gettid()
			<-gate
		}()
	}
	seen := map[int]bool{}
	for i := 0; i < cap(ids); i++ {
		seen[<-ids] = true
	}
	close(gate)
	group.Wait()
	must(len(seen) == cap(ids), "two have the same thread")
}

func main() {
	status := 0
	runtime.GOMAXPROCS(4)
	for _, part := range []struct {
		name string
		run  func()
	}{
		{"pi", pi},
		{"processors", processors},
		{"preemption", preemption},
		{"garbage", garbage},
		{"panics", panics},
		{"sleeps", sleeps},
		{"goroutines", goroutines},
		{"stacks", stacks},
		{"signals", signals},
		{"threads", threads},
	} {
		fmt.Printf("%s: ", part.name)
		if text := recovered(part.run); text != "nothing" {
			fmt.Println("FAILED")
			fmt.Fprintln(os.Stderr, part.name, text)
			status = 1
		} else {
			fmt.Println("ok")
		}
	}
	os.Exit(status)
}
