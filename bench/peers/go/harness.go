package main

// How a peer is measured: what harness/src/lib.rs does, in Go.

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"
)

// A routine is one thing that the peer can be measured at.
type routine struct {
	name    string // case and variant
	workers []int
	run     func(*setup)
}

// A setup is what a routine is told.
type setup struct {
	workers int
	leaves  uint64
	samples int
	sample  time.Duration
}

// measure prints the time of one iteration, for each sample.
func (s *setup) measure(routine func(iters uint64) time.Duration) {
	iters := s.warmUp(routine)
	for taken := 0; taken < s.samples; {
		elapsed := inGoroutine(func() time.Duration { return routine(iters) })
		if elapsed < s.sample {
			// It has become faster since.
			iters = scale(iters, elapsed, s.sample)
			continue
		}
		report("each", elapsed, iters)
		taken++
	}
}

// measureRounds prints the time of one item, for each round.
func (s *setup) measureRounds(items uint64, round func() time.Duration) {
	report("first", inGoroutine(round), items)
	report("second", inGoroutine(round), items)
	for i := 0; i < s.samples; i++ {
		report("later", inGoroutine(round), items)
	}
}

func (s *setup) warmUp(routine func(iters uint64) time.Duration) uint64 {
	iters := uint64(1)
	var spent time.Duration
	for {
		elapsed := inGoroutine(func() time.Duration { return routine(iters) })
		spent += elapsed
		scaled := scale(iters, elapsed, s.sample)
		if elapsed >= s.sample/2 && spent >= s.sample {
			return scaled
		}
		// At most by 8: the first iterations say little about the others.
		iters = min(scaled, iters*8)
	}
}

// inGoroutine runs f in a goroutine of its own, as the other peers do.
func inGoroutine(f func() time.Duration) time.Duration {
	result := make(chan time.Duration)
	go func() { result <- f() }()
	return <-result
}

// scale gives the number of iterations that lasts for sample and a bit, after iters lasted for elapsed.
func scale(iters uint64, elapsed, sample time.Duration) uint64 {
	ratio := 1.1 * float64(sample) / math.Max(float64(elapsed), 1)
	return uint64(math.Ceil(float64(iters) * ratio))
}

func min(a, b uint64) uint64 {
	if a < b {
		return a
	}
	return b
}

func report(metric string, elapsed time.Duration, items uint64) {
	fmt.Printf("%s %.3f\n", metric, float64(elapsed.Nanoseconds())/float64(items))
}

func obey(routines []routine) error {
	if len(os.Args) == 2 && os.Args[1] == "list" {
		for _, routine := range routines {
			for _, workers := range routine.workers {
				fmt.Println(routine.name, workers)
			}
		}
		return nil
	}
	if len(os.Args) < 3 {
		return errors.New("usage: peer-go list, or peer-go CASE VARIANT [--workers N] [--samples N] [--sample-ms N] [--leaves N]")
	}
	name := os.Args[1] + " " + os.Args[2]
	var s setup
	flags := flag.NewFlagSet("peer-go", flag.ContinueOnError)
	flags.IntVar(&s.workers, "workers", 1, "threads that run goroutines (GOMAXPROCS)")
	flags.Uint64Var(&s.leaves, "leaves", 100_000, "leaves of the skynet tree, a power of 10")
	flags.IntVar(&s.samples, "samples", 5, "samples of a measurement")
	milliseconds := flags.Int("sample-ms", 50, "length of a sample")
	if err := flags.Parse(os.Args[3:]); err != nil {
		return err
	}
	s.sample = time.Duration(*milliseconds) * time.Millisecond
	for _, routine := range routines {
		if routine.name == name {
			runtime.GOMAXPROCS(s.workers)
			routine.run(&s)
			return nil
		}
	}
	return fmt.Errorf("there is no routine `%s`, `list` names those there are", name)
}
