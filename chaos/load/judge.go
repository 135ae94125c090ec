package load

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/history"
)

// How much more the last tenth of a run may have than its first: a factor, and something for what varies anyway.
const (
	// Bytes, resident and heap. A proxy's caches (listings have 32 MiB) are not full after a tenth of an hour, and Go lets
	// a heap double before it collects.
	memoryFactor, memoryMore = 1.25, 96 << 20
	countFactor, countMore   = 1.1, 256 // goroutines, descriptors
	middleFactor             = 1.5      // of the time in which half of the answers come
	middleMore               = 20 * time.Millisecond
	slowestFactor            = 2.0 // of the time in which all but one in a hundred come
	slowestMore              = 150 * time.Millisecond
	// fewest is how many answers of a kind both tenths must have to be compared.
	fewest = 200
)

// Tenth is a tenth of a run: the middle of what its samples hold, and how long its answers took.
type Tenth struct {
	RSS, Heap               int64
	Goroutines, Descriptors int
	Took                    map[history.Kind][]time.Duration // shortest first
}

// Tenths returns the first and the last tenth of a run, which have one sample each at least.
func Tenths(samples []Sample, whole time.Duration) (first, last Tenth, err error) {
	var begin, end []Sample
	for _, s := range samples {
		if s.At <= whole/10 || len(begin) == 0 {
			begin = append(begin, s)
		}
		if s.At > whole-whole/10 {
			end = append(end, s)
		}
	}
	if len(end) == 0 && len(samples) > 0 {
		end = samples[len(samples)-1:]
	}
	if len(samples) < 2 {
		return first, last, fmt.Errorf("%d samples are too few to compare", len(samples))
	}
	return tenth(begin), tenth(end), nil
}

func tenth(samples []Sample) Tenth {
	t := Tenth{Took: map[history.Kind][]time.Duration{}}
	var rss, heap, goroutines, descriptors []int64
	for _, s := range samples {
		rss, heap = append(rss, s.RSS), append(heap, s.Heap)
		goroutines, descriptors = append(goroutines, int64(s.Goroutines)), append(descriptors, int64(s.Descriptors))
		for kind, took := range s.Took {
			t.Took[kind] = append(t.Took[kind], took...)
		}
	}
	for _, took := range t.Took {
		slices.Sort(took)
	}
	t.RSS, t.Heap, t.Goroutines, t.Descriptors = middle(rss), middle(heap), int(middle(goroutines)), int(middle(descriptors))
	return t
}

func middle(values []int64) int64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// Compare returns what grew from the first tenth to the last.
func Compare(first, last Tenth) []checker.Violation {
	var found []checker.Violation
	grew := func(what string, was, is, factor, more float64, show func(float64) string) {
		if is > was*factor+more {
			found = append(found, checker.Violation{Kind: "growth", Detail: fmt.Sprintf("%s: %s in the first tenth of the run, %s in the last", what, show(was), show(is))})
		}
	}
	mebibytes := func(v float64) string { return fmt.Sprintf("%.0f MiB", v/(1<<20)) }
	number := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	span := func(v float64) string { return time.Duration(v).Round(time.Millisecond).String() }
	grew("resident memory", float64(first.RSS), float64(last.RSS), memoryFactor, memoryMore, mebibytes)
	grew("heap", float64(first.Heap), float64(last.Heap), memoryFactor, memoryMore, mebibytes)
	grew("goroutines", float64(first.Goroutines), float64(last.Goroutines), countFactor, countMore, number)
	grew("descriptors", float64(first.Descriptors), float64(last.Descriptors), countFactor, countMore, number)
	for _, kind := range slices.Sorted(maps.Keys(first.Took)) {
		was, is := first.Took[kind], last.Took[kind]
		if len(was) < fewest || len(is) < fewest {
			continue
		}
		grew(string(kind)+", p50", float64(Percentile(was, 50)), float64(Percentile(is, 50)), middleFactor, float64(middleMore), span)
		grew(string(kind)+", p99", float64(Percentile(was, 99)), float64(Percentile(is, 99)), slowestFactor, float64(slowestMore), span)
	}
	return found
}

// refusals are what clients provoke: rivals, conditions that do not hold, what was deleted before.
var refusals = map[string]bool{
	"complete NoSuchUpload": true, "abort NoSuchUpload": true, // another client completed or aborted it
	"complete NoSuchKey": true, "complete PreconditionFailed": true,
	"copy NoSuchKey":            true, // of a source that is not there
	"get InvalidRange":          true, // behind the end
	"get-version InvalidRange":  true,
	"put PreconditionFailed":    true,                              // counters and locks
	"get KMS.NotFoundException": true, "put kms:KeyNotFound": true, // under a KMS key that was deleted
	"use-expired ExpiredToken": true, "use-expired InvalidTokenId": true, "use-expired AccessDenied": true,
}

// busy are the codes of reads and copies of what others overwrite again and again: of bucketseal's own tries, and of
// MinIO's, which finds data and metadata of two writes.
var busy = map[string]bool{"SlowDown": true, "SlowDownRead": true}

// Busy says whether so many of a kind's operations may have ended so: one in a hundred, and three.
func Busy(ended, all int) bool { return ended <= all/100+3 }

// Errors counts the operations that did not succeed, as KIND: STATUS CODE, and those whose object was busy by their
// kind.
func Errors(ops []history.Op) (expected, others, kept map[string]int) {
	expected, others, kept = map[string]int{}, map[string]int{}, map[string]int{}
	for i := range ops {
		o := &ops[i]
		if o.Outcome == history.OK {
			continue
		}
		if (o.Kind == history.Copy || o.Kind == history.Get) && busy[o.Code] {
			kept[string(o.Kind)]++
			continue
		}
		to := others
		if o.Outcome == history.Failed && refusals[string(o.Kind)+" "+o.Code] {
			to = expected
		}
		to[fmt.Sprintf("%s: %d %s", o.Kind, o.Status, o.Code)]++
	}
	return expected, others, kept
}
