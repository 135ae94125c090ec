package kms

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// maxAhead is how many entries of a key are read, or removed, at once.
const maxAhead = 16

// found is what a store answered for an entry.
type found struct {
	value []byte
	err   error
}

// getAll reads entries at once, maxAhead at most.
func getAll(ctx context.Context, store Store, entries []string) []found {
	answers := make([]found, len(entries))
	atOnce(len(entries), func(i int) { answers[i].value, answers[i].err = store.Get(ctx, entries[i]) })
	return answers
}

// atOnce calls f with all numbers below n, and waits for all of them.
func atOnce(n int, f func(i int)) {
	if n == 1 {
		f(0)
		return
	}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { f(i) })
	}
	wait.Wait()
}

// clearAll overwrites what was read.
func clearAll(answers []found) {
	for _, a := range answers {
		clear(a.value)
	}
}

// eachAtOnce calls f with all entries, maxAhead at once, until one fails.
func eachAtOnce(entries []string, f func(entry string) error) error {
	for batch := range slices.Chunk(entries, maxAhead) {
		errs := make([]error, len(batch))
		atOnce(len(batch), func(i int) { errs[i] = f(batch[i]) })
		if err := cmp.Or(errs...); err != nil {
			return err
		}
	}
	return nil
}
