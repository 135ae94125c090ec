package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/storage/simulation"
	"github.com/bucketseal/bucketseal/sse"
)

var counter = sse.Name{Bucket: "bucket", Key: "counter"}

// counting lets clients count in one object, each line a client, and returns the lines
// that were acknowledged and those that are there.
func counting(t *testing.T, seed uint64, chances simulation.Chances, careful bool) (acknowledged, there []string, trace string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		if err := s.CreateBucket(counter.Bucket, memory.Unversioned); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Own(storage.Actor{}).Put(t.Context(), &storage.Put{Name: counter}); err != nil {
			t.Fatal(err)
		}
		w := simulation.New(s, seed, chances)
		p := w.Proxy(t.Context())
		done := make(chan string, 100)
		for i := range 4 {
			w.Go(p, fmt.Sprint("client-", i), func(ctx context.Context) {
				for n := range 3 {
					if line := fmt.Sprintf("%d.%d", i, n); count(ctx, p.View.Own(storage.Actor{}), line, careful) == nil {
						done <- line
					}
				}
			})
		}
		if err := w.Run(); err != nil {
			t.Fatal(err)
		}
		w.Calm()
		close(done)
		for line := range done {
			acknowledged = append(acknowledged, line)
		}
		raw, err := s.Raw(counter, "")
		if err != nil {
			t.Fatal(err)
		}
		there, trace = strings.Fields(string(raw.Data)), w.Trace()
	})
	return acknowledged, there, trace
}

// count adds a line to the counter; who is careful sees that nobody else did meanwhile.
func count(ctx context.Context, b storage.Backend, line string, careful bool) error {
	for {
		o, err := b.Get(ctx, &storage.Get{Name: counter})
		if err != nil {
			return err
		}
		old, err := io.ReadAll(o)
		if err != nil {
			return err
		}
		text := string(old) + line + "\n"
		p := &storage.Put{Name: counter, Body: storage.Body{Reader: strings.NewReader(text), Length: int64(len(text))}}
		if careful {
			p.IfMatch = o.ETag
		}
		if _, err = b.Put(ctx, p); !errors.Is(err, storage.ErrPrecondition) {
			return err
		}
	}
}

func lost(acknowledged, there []string) int {
	n := len(acknowledged)
	for _, line := range acknowledged {
		for _, other := range there {
			if line == other {
				n--
				break
			}
		}
	}
	return n
}

func TestSimulationFindsWhatIsLost(t *testing.T) {
	found := 0
	for seed := range uint64(20) {
		acknowledged, there, _ := counting(t, seed, simulation.Chances{}, false)
		found += lost(acknowledged, there)
	}
	if found == 0 {
		t.Error("writers that overwrite each other lose nothing")
	}
}

func TestSimulationOfWhatIsRight(t *testing.T) {
	failed := 0
	for seed := range uint64(20) {
		acknowledged, there, trace := counting(t, seed, simulation.Chances{Fail: 20, Late: 20, Cut: 20, Leave: 5, Crash: 2}, true)
		if n := lost(acknowledged, there); n > 0 {
			t.Errorf("seed %d: %d of %q are not in %q\n%s", seed, n, acknowledged, there, trace)
		}
		failed += 12 - len(acknowledged)
	}
	if failed == 0 {
		t.Error("nothing went wrong")
	}
}

func TestSeedRunsTheSameAgain(t *testing.T) {
	chances := simulation.Chances{Fail: 20, Late: 20, Cut: 20, Leave: 5, Crash: 2}
	for seed := range uint64(5) {
		_, one, traceOne := counting(t, seed, chances, true)
		_, two, traceTwo := counting(t, seed, chances, true)
		if fmt.Sprint(one) != fmt.Sprint(two) || traceOne != traceTwo {
			t.Errorf("seed %d: %q, then %q", seed, one, two)
		}
	}
}

func TestHistories(t *testing.T) {
	t.Parallel()
	absent := func(before string) bool { return before == "" }
	for name, test := range map[string]struct {
		ops      []simulation.Op
		possible bool
	}{
		"a read of what was written":               {[]simulation.Op{{Start: 1, End: 2, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("a")}}, true},
		"a read of what was never written":         {[]simulation.Op{{Start: 1, End: 2, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("b")}}, false},
		"a write that was lost":                    {[]simulation.Op{{Start: 1, End: 2, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("")}}, false},
		"a read before the end of a write":         {[]simulation.Op{{Start: 1, End: 9, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("")}}, true},
		"new, then old":                            {[]simulation.Op{{Start: 1, End: 9, Apply: simulation.Write("a")}, {Start: 2, End: 3, Apply: simulation.Read("a")}, {Start: 4, End: 5, Apply: simulation.Read("")}}, false},
		"an unknown write that is seen":            {[]simulation.Op{{Start: 1, End: simulation.Never, Maybe: true, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("a")}}, true},
		"an unknown write that is not seen":        {[]simulation.Op{{Start: 1, End: simulation.Never, Maybe: true, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("")}}, true},
		"an unknown write that is seen late":       {[]simulation.Op{{Start: 1, End: simulation.Never, Maybe: true, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("")}, {Start: 5, End: 6, Apply: simulation.Read("a")}}, true},
		"an unknown write that is seen and undone": {[]simulation.Op{{Start: 1, End: simulation.Never, Maybe: true, Apply: simulation.Write("a")}, {Start: 3, End: 4, Apply: simulation.Read("a")}, {Start: 5, End: 6, Apply: simulation.Read("")}}, false},
		"two that create":                          {[]simulation.Op{{Start: 1, End: 9, Apply: simulation.WriteIf("a", absent)}, {Start: 1, End: 9, Apply: simulation.WriteIf("b", absent)}}, false},
		"one that creates, one that is refused":    {[]simulation.Op{{Start: 1, End: 9, Apply: simulation.WriteIf("a", absent)}, {Start: 1, End: 9, Apply: simulation.ReadIf(func(before string) bool { return before != "" })}}, true},
	} {
		h := &simulation.History{}
		for _, op := range test.ops {
			h.Add("object", op)
		}
		if err := h.Check(); (err == nil) != test.possible {
			t.Errorf("%s: %v", name, err)
		}
	}
}
