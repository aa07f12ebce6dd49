// Go's side: goroutines, channels, sync.Mutex, with GOMAXPROCS as the number of workers.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

func main() {
	routines := []routine{
		{"lock goroutine", []int{1}, func(s *setup) { s.measure(lock) }},
		{"mutex8 goroutines", []int{1, 2}, func(s *setup) { s.measure(mutex8) }},
		{"pingpong rendezvous", []int{1, 2}, func(s *setup) { s.measure(pingPong(0)) }},
		{"pingpong bounded1", []int{1, 2}, func(s *setup) { s.measure(pingPong(1)) }},
		{"fanin bounded", []int{1, 2}, func(s *setup) { s.measure(fanIn) }},
		{"skynet rendezvous", []int{1, 2}, skynet(0)},
		{"skynet bounded10", []int{1, 2}, skynet(10)},
	}
	if err := obey(routines); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// counter keeps the mutex where the compiler must look for it.
var counter struct {
	sync.Mutex
	value uint64
}

func lock(iters uint64) time.Duration {
	counter.value = 0
	begin := time.Now()
	for i := uint64(0); i < iters; i++ {
		counter.Lock()
		counter.value++
		counter.Unlock()
	}
	elapsed := time.Since(begin)
	expect(counter.value, iters)
	return elapsed
}

func mutex8(iters uint64) time.Duration {
	each := (iters + 7) / 8
	counter.value = 0
	var adders sync.WaitGroup
	begin := time.Now()
	adders.Add(8)
	for i := 0; i < 8; i++ {
		go func() {
			for n := uint64(0); n < each; n++ {
				counter.Lock()
				counter.value++
				counter.Unlock()
			}
			adders.Done()
		}()
	}
	adders.Wait()
	elapsed := time.Since(begin)
	expect(counter.value, 8*each)
	return scaled(elapsed, iters, 8*each)
}

func pingPong(capacity int) func(uint64) time.Duration {
	return func(iters uint64) time.Duration {
		there := make(chan uint64, capacity)
		back := make(chan uint64, capacity)
		go func() {
			for n := range there {
				back <- n
			}
			close(back)
		}()
		begin := time.Now()
		for n := uint64(0); n < iters; n++ {
			there <- n
			expect(<-back, n)
		}
		elapsed := time.Since(begin)
		close(there)
		<-back
		return elapsed
	}
}

func fanIn(iters uint64) time.Duration {
	each := (iters + 3) / 4
	messages := make(chan uint64, 1024)
	var producers sync.WaitGroup
	begin := time.Now()
	producers.Add(4)
	for i := 0; i < 4; i++ {
		go func() {
			for n := uint64(0); n < each; n++ {
				messages <- n
			}
			producers.Done()
		}()
	}
	// Go's channels do not count their senders.
	go func() {
		producers.Wait()
		close(messages)
	}()
	var sum uint64
	for n := range messages {
		sum += n
	}
	elapsed := time.Since(begin)
	expect(sum, 4*(each*(each-1)/2))
	return scaled(elapsed, iters, 4*each)
}

func skynet(capacity int) func(*setup) {
	return func(s *setup) {
		s.measureRounds(s.leaves, func() time.Duration {
			up := make(chan uint64, capacity)
			begin := time.Now()
			go node(up, 0, s.leaves, capacity)
			sum := <-up
			elapsed := time.Since(begin)
			expect(sum, s.leaves*(s.leaves-1)/2)
			return elapsed
		})
	}
}

// node is one over size leaves, which are numbered from first; it sends their sum up.
func node(up chan<- uint64, first, size uint64, capacity int) {
	if size == 1 {
		up <- first
		return
	}
	children := make(chan uint64, capacity)
	for child := uint64(0); child < 10; child++ {
		go node(children, first+child*(size/10), size/10, capacity)
	}
	var sum uint64
	for i := 0; i < 10; i++ {
		sum += <-children
	}
	up <- sum
}

func scaled(elapsed time.Duration, iters, done uint64) time.Duration {
	return time.Duration(float64(elapsed) * float64(iters) / float64(done))
}

func expect(got, expected uint64) {
	if got != expected {
		panic(fmt.Sprintf("got %d, expected %d", got, expected))
	}
}
