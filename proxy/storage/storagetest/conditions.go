package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// conditions are tests of what holds at the instant of a write.
var conditions = map[string]func(*kit){
	"ConditionsOfPut":           (*kit).putConditions,
	"ConditionsOfUploads":       (*kit).uploadConditions,
	"RefusalBeforeTheBody":      (*kit).refusedEarly,
	"ManyCreateOneObject":       (*kit).raceToCreate,
	"ManyCreateOverADeletion":   (*kit).raceOverDeletion,
	"ManyReplaceOneObject":      (*kit).raceToReplace,
	"ManyCompleteOneObject":     (*kit).raceToComplete,
	"ReplacementsFollowInChain": (*kit).chain,
}

// none is an ETag that no object of the tests has.
var none = `"` + etagOf([]byte("no object has this content")) + `"`

// conditionCases hold against an object whose ETag is etag, or against nothing.
func conditionCases(etag string) []struct {
	what       string
	there      bool
	conditions storage.Conditions
	targets    []error // nil if it holds
} {
	refused := []error{storage.ErrPrecondition}
	return []struct {
		what       string
		there      bool
		conditions storage.Conditions
		targets    []error
	}{
		{"IfNoneMatch * of nothing", false, storage.Conditions{IfNoneMatch: "*"}, nil},
		{"IfNoneMatch * of an object", true, storage.Conditions{IfNoneMatch: "*"}, refused},
		{"IfNoneMatch of its ETag", true, storage.Conditions{IfNoneMatch: etag}, refused},
		{"IfNoneMatch of another ETag", true, storage.Conditions{IfNoneMatch: none}, nil},
		{"IfMatch of its ETag", true, storage.Conditions{IfMatch: etag}, nil},
		{"IfMatch of another ETag", true, storage.Conditions{IfMatch: none}, refused},
		{"IfMatch of nothing", false, storage.Conditions{IfMatch: none}, []error{storage.ErrPrecondition, storage.ErrNotFound}},
	}
}

func (k *kit) putConditions() {
	for i, test := range conditionCases(`"` + etagOf([]byte("old")) + `"`) {
		key := fmt.Sprintf("o%d", i)
		if test.there {
			k.put(key, []byte("old"))
		}
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name(key), Conditions: test.conditions, Body: body([]byte("new"))})
		k.judged(key, test.what, test.there, err, test.targets)
	}
}

func (k *kit) uploadConditions() {
	for i, test := range conditionCases(`"` + etagOf([]byte("old")) + `"`) {
		key := fmt.Sprintf("o%d", i)
		if test.there {
			k.put(key, []byte("old"))
		}
		u := k.create(&storage.CreateUpload{Name: k.name(key)})
		p := k.part(u, 1, []byte("new"))
		_, err := k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: []storage.CompletePart{p}, Conditions: test.conditions})
		k.judged(key, test.what, test.there, err, test.targets)
		if err != nil { // the upload is there still
			k.complete(u, p)
			k.holds(key, []byte("new"))
		}
	}
}

// judged holds a write to what its condition says.
func (k *kit) judged(key, what string, there bool, err error, targets []error) {
	k.Helper()
	if targets == nil {
		k.must(what, err)
		k.holds(key, []byte("new"))
		return
	}
	k.want(what, err, targets...)
	if there {
		k.holds(key, []byte("old"))
	} else {
		k.isGone(key)
	}
}

// countingReader says how often it was read.
type countingReader struct {
	*bytes.Reader
	reads atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	r.reads.Add(1)
	return r.Reader.Read(p)
}

func (k *kit) refusedEarly() {
	k.put("o", []byte("old"))
	for what, p := range map[string]*storage.Put{
		"a condition":    {Name: k.name("o"), Conditions: storage.Conditions{IfNoneMatch: "*"}},
		"another bucket": {Name: k.name("o")},
	} {
		if p.IfNoneMatch == "" {
			p.Name.Bucket += "-none"
		}
		r := &countingReader{Reader: bytes.NewReader(make([]byte, 4<<20))}
		p.Body = storage.Body{Reader: r, Length: 4 << 20, Expect: true}
		if _, err := k.own.Put(k.ctx(), p); k.answer(err) == nil {
			k.Errorf("%s: %v", what, err)
		}
		if n := r.reads.Load(); n > 0 {
			k.Errorf("%s: the body was read %d times for a refusal", what, n)
		}
	}
}

// rivals is how many writers race.
const rivals = 32

// race lets rivals write and fails the test unless exactly one succeeds and all others
// find the condition not to hold. It returns the winner's number.
func (k *kit) race(write func(i int) error) int {
	k.Helper()
	var wg sync.WaitGroup
	var ready sync.WaitGroup
	errs := make([]error, rivals)
	ready.Add(rivals)
	for i := range rivals {
		wg.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = write(i)
		})
	}
	wg.Wait()
	winner, winners := -1, 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner, winners = i, winners+1
		case !errors.Is(err, storage.ErrPrecondition):
			k.Errorf("a loser was told: %v", err)
		}
	}
	if winners != 1 {
		k.Fatalf("%d of %d writers succeeded", winners, rivals)
	}
	return winner
}

// racePut lets rivals put one object under conditions.
func (k *kit) racePut(key string, c storage.Conditions) {
	k.Helper()
	winner := k.race(func(i int) error {
		_, err := k.own.Put(k.ctx(), &storage.Put{
			Name: k.name(key), Conditions: c, Record: fmt.Sprint("record-", i), Body: body(data(uint64(i), 10_000)), //nolint:gosec // not negative
		})
		return err
	})
	info := k.holds(key, data(uint64(winner), 10_000)) //nolint:gosec // not negative
	if got := k.recordOf(info); got != fmt.Sprint("record-", winner) {
		k.Errorf("writer %d won, the record is %q", winner, got)
	}
}

func (k *kit) raceToCreate() {
	for i := range 3 {
		k.racePut(fmt.Sprint("o", i), storage.Conditions{IfNoneMatch: "*"})
	}
}

func (k *kit) raceOverDeletion() {
	k.put("o", []byte("old"))
	_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o")})
	k.must("delete", err)
	k.racePut("o", storage.Conditions{IfNoneMatch: "*"})
}

func (k *kit) raceToReplace() {
	for i := range 3 {
		key := fmt.Sprint("o", i)
		stored := k.put(key, []byte("old"))
		k.racePut(key, storage.Conditions{IfMatch: `"` + unquoted(stored.ETag) + `"`})
	}
}

func (k *kit) raceToComplete() {
	uploads, parts := make([]*storage.Upload, rivals), make([]storage.CompletePart, rivals)
	for i := range rivals {
		uploads[i] = k.create(&storage.CreateUpload{Name: k.name("o"), Record: fmt.Sprint("record-", i)})
		parts[i] = k.part(uploads[i], 1, data(uint64(i), 1000)) //nolint:gosec // not negative
	}
	winner := k.race(func(i int) error {
		_, err := k.own.Complete(k.ctx(), &storage.Complete{
			Upload: *uploads[i], Parts: parts[i : i+1], Conditions: storage.Conditions{IfNoneMatch: "*"},
		})
		return err
	})
	info := k.holds("o", data(uint64(winner), 1000)) //nolint:gosec // not negative
	if got := k.recordOf(info); got != fmt.Sprint("record-", winner) {
		k.Errorf("upload %d won, the record is %q", winner, got)
	}
}

// chain lets writers append to one object by compare-and-swap: none may be lost.
func (k *kit) chain() {
	k.put("o", nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 5 {
				if err := k.appendLine(fmt.Sprintf("%d.%d\n", i, n)); err != nil {
					k.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	_, got, err := k.read(&storage.Get{Name: k.name("o")})
	k.must("get", err)
	if lines := strings.Count(string(got), "\n"); lines != 20 {
		k.Errorf("%d of 20 writers' lines are there:\n%s", lines, got)
	}
}

func (k *kit) appendLine(line string) error {
	for range 1000 {
		info, old, err := k.read(&storage.Get{Name: k.name("o")})
		if err != nil {
			return err
		}
		_, err = k.own.Put(k.ctx(), &storage.Put{
			Name: k.name("o"), Conditions: storage.Conditions{IfMatch: info.ETag}, Body: body(append(old, line...)),
		})
		if !errors.Is(err, storage.ErrPrecondition) {
			return err
		}
	}
	return errors.New("the ETag that was just read never holds")
}
