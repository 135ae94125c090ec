package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// op writes an operation down: on key k of bucket b, from start to end in seconds.
func op(kind history.Kind, start, end float64, change ...func(*history.Op)) history.Op {
	o := history.Op{
		Kind: kind, Bucket: "b", Key: "k", Outcome: history.OK,
		Start: time.Duration(start * 1e9), End: time.Duration(end * 1e9),
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func writes(w history.Write) func(*history.Op) {
	return func(o *history.Op) {
		o.Write, o.Body = w, history.Body{{Write: w, Len: 100}}
		o.Saw = &history.Value{Write: w, ETag: fmt.Sprint("e", w)}
	}
}

func saw(w history.Write) func(*history.Op) {
	return func(o *history.Op) {
		o.Saw = &history.Value{Write: w}
		if w != history.Absent {
			o.Saw.Size, o.Saw.Body = 100, history.Body{{Write: w, Len: 100}}
		}
	}
}

func unknown(o *history.Op) { o.Outcome, o.Saw = history.Unknown, nil }

func refused(code string) func(*history.Op) {
	return func(o *history.Op) { o.Outcome, o.Code, o.Saw = history.Failed, code, nil }
}

func onlyIf(w history.Write) func(*history.Op) { return func(o *history.Op) { o.OnlyIf = &w } }
func ofVersion(id string) func(*history.Op) {
	return func(o *history.Op) {
		if o.Version = id; o.Saw != nil {
			o.Saw.Version = id
		}
	}
}
func at(key string) func(*history.Op)    { return func(o *history.Op) { o.Key = key } }
func upload(id string) func(*history.Op) { return func(o *history.Op) { o.Upload = id } }
func rule(r string) func(*history.Op)    { return func(o *history.Op) { o.Rule = r } }
func sealed(s string) func(*history.Op) {
	return func(o *history.Op) { o.Saw.Seal, o.ByRule = s, o.Writes() }
}

func body(b ...history.Segment) func(*history.Op) {
	return func(o *history.Op) { o.Saw.Body, o.Saw.Size = b, history.Body(b).Size() }
}

func listed(e ...history.Entry) func(*history.Op) {
	return func(o *history.Op) { o.Key, o.Listed = "", e }
}

func entry(w history.Write) history.Entry {
	return history.Entry{Key: "k", Size: 100, ETag: fmt.Sprint("e", w)}
}

func walk(start float64) func(*history.Op) {
	return func(o *history.Op) { o.Walk = time.Duration(start * 1e9) }
}

// ranged is a read of bytes 20 to 80 of write 1, whose answer has those from first to end.
func ranged(first, end int64) func(*history.Op) {
	return func(o *history.Op) {
		saw(1)(o)
		o.Range = &history.Span{First: 20, End: 80}
		o.Saw.First, o.Saw.Partial, o.Saw.Body = first, true, history.Body{{Write: 1, From: first, Len: end - first}}
	}
}

// copied is a copy as write 7.
var copied = op(history.Copy, 0, 1, func(o *history.Op) { o.Write, o.Source, o.Saw = 7, "b/source", &history.Value{Write: 7} })

const (
	put, get, del, list = history.Put, history.Get, history.Delete, history.List
	complete            = history.Complete
)

func kinds(ops []history.Op) []string {
	h := history.New(nil)
	for _, o := range ops {
		h.Add(o)
	}
	var out []string
	for _, v := range Check(h) {
		out = append(out, v.Kind)
	}
	return slices.Compact(out)
}

func TestHonestHistories(t *testing.T) {
	for name, ops := range map[string][]history.Op{
		"a write is read":               {op(put, 0, 1, writes(1)), op(get, 2, 3, saw(1))},
		"nothing before it":             {op(put, 1, 4, writes(1)), op(get, 2, 3, saw(0)), op(get, 2, 3, saw(1))},
		"an unknown write is seen late": {op(put, 0, 1, writes(1), unknown), op(get, 5, 6, saw(0)), op(get, 7, 8, saw(1))},
		"an unknown write never comes":  {op(put, 0, 1, writes(1), unknown), op(get, 5, 6, saw(0))},
		"two at once in any order":      {op(put, 0, 5, writes(1)), op(put, 0, 5, writes(2)), op(get, 6, 7, saw(1))},
		"a delete":                      {op(put, 0, 1, writes(1)), op(del, 2, 3), op(get, 4, 5, saw(0))},
		"a swap":                        {op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2), onlyIf(1)), op(put, 2, 4, writes(3), onlyIf(1), refused("PreconditionFailed"))},
		"a lock taken again":            {op(put, 0, 1, writes(1), onlyIf(0)), op(del, 2, 3), op(put, 4, 5, writes(2), onlyIf(0))},
		"rivals complete one upload": {
			op(complete, 0, 4, writes(1), upload("u")), op(complete, 1, 3, writes(1), upload("u")),
			op(put, 5, 6, writes(2)), op(get, 7, 8, saw(2)),
		},
		"the loser is told there is none": {
			op(complete, 0, 4, writes(1), upload("u")), op(complete, 1, 5, writes(1), upload("u"), refused("NoSuchUpload")), op(get, 6, 7, saw(1)),
		},
		"a listing":                {op(put, 0, 1, writes(1)), op(list, 2, 3, listed(entry(1)))},
		"a listing beside one":     {op(put, 0, 1, writes(1)), op(put, 2, 9, writes(2)), op(list, 3, 4, listed(entry(1))), op(list, 3, 4, listed(entry(2)))},
		"too short a copy to tell": {copied, op(get, 2, 3, saw(7), body(history.Segment{Write: history.Damage, Len: 10}))},
		"a copy":                   {op(put, 0, 0.5, writes(1), at("source")), copied, op(get, 2, 3, saw(7), body(history.Segment{Write: 1, Len: 100}))},
		"a range":                  {op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(20, 80))},
		"a range that was cut off": {op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(20, 70), func(o *history.Op) { o.Outcome = history.Unknown })},
		"a range beyond the end":   {op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(20, 100), func(o *history.Op) { o.Range.End = 500 })},
		"a listing's second page":  {op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2)), op(list, 4, 5, listed(entry(1)), walk(1.5))},
		"a rule in motion": {
			op(history.SetRule, 0, 1, rule("A")), op(history.SetRule, 2, 9, rule("B")),
			op(put, 3, 4, writes(1), sealed("B")), op(put, 5, 6, writes(2), sealed("A")),
		},
		"versions": {
			op(put, 0, 1, writes(1), ofVersion("v1")), op(put, 2, 3, writes(2), ofVersion("v2")),
			op(history.GetVersion, 4, 5, saw(1), ofVersion("v1")), op(history.DeleteVersion, 6, 9, ofVersion("v1")),
			op(history.GetVersion, 7, 8, saw(0), func(o *history.Op) { o.Version = "v1" }),
		},
		"a completed upload that is aborted and completed again": {
			op(complete, 0, 1, writes(1), upload("u")), op(history.Abort, 2, 3, upload("u")), op(complete, 4, 5, writes(1), upload("u")),
		},
		"a Complete that took long": {
			op(complete, 0, 30, writes(1), upload("u"), func(o *history.Op) { o.Seal = "A" }), op(get, 31, 32, saw(1), func(o *history.Op) { o.Saw.Seal = "A" }),
		},
		"an aborted upload": {op(history.Abort, 0, 1, upload("u")), op(complete, 2, 3, writes(1), upload("u"), refused("NoSuchUpload"))},
	} {
		if got := kinds(ops); len(got) > 0 {
			t.Errorf("%s: blamed for %v", name, got)
		}
	}
}

func TestBrokenPromises(t *testing.T) {
	for name, c := range map[string]struct {
		want string
		ops  []history.Op
	}{
		"lost":       {"lost-write", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, saw(0))}},
		"stale":      {"stale-read", []history.Op{op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2)), op(get, 4, 5, saw(1))}},
		"refused":    {"phantom", []history.Op{op(put, 0, 1, writes(1), refused("AccessDenied")), op(get, 2, 3, saw(1))}},
		"after":      {"phantom", []history.Op{op(get, 0, 1, saw(9))}},
		"deleted":    {"stale-read", []history.Op{op(put, 0, 1, writes(1)), op(del, 2, 3), op(get, 4, 5, saw(1))}},
		"twice":      {"order", []history.Op{op(put, 0, 1, writes(1), unknown), op(put, 2, 3, writes(2)), op(get, 4, 5, saw(1)), op(get, 6, 7, saw(2))}},
		"back":       {"order", []history.Op{op(put, 0, 9, writes(1)), op(put, 0, 9, writes(2)), op(get, 1, 2, saw(1)), op(get, 3, 4, saw(2)), op(get, 5, 6, saw(1))}},
		"both swap":  {"swapped-twice", []history.Op{op(put, 0, 1, writes(1)), op(put, 2, 4, writes(2), onlyIf(1)), op(put, 2, 4, writes(3), onlyIf(1))}},
		"both lock":  {"order", []history.Op{op(put, 0, 2, writes(1), onlyIf(0)), op(put, 1, 3, writes(2), onlyIf(0))}},
		"no reason":  {"order", []history.Op{op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2), onlyIf(1), refused("PreconditionFailed"))}},
		"mixed":      {"bytes", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, saw(1), body(history.Segment{Write: 1, Len: 50}, history.Segment{Write: 2, From: 50, Len: 50}))}},
		"shifted":    {"bytes", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, saw(1), body(history.Segment{Write: 1, From: 16, Len: 100}))}},
		"cut":        {"bytes", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, saw(1), body(history.Segment{Write: 1, Len: 99}))}},
		"seal":       {"seal", []history.Op{op(put, 0, 1, writes(1), sealed("A")), op(get, 2, 3, saw(1), func(o *history.Op) { o.Saw.Seal = "B" })}},
		"rule":       {"rule", []history.Op{op(history.SetRule, 0, 1, rule("A")), op(history.SetRule, 2, 3, rule("B")), op(put, 4, 5, writes(1), sealed("A"))}},
		"no copy":    {"bytes", []history.Op{copied, op(get, 2, 3, saw(7), body(history.Segment{Write: history.Damage, Len: 31}))}},
		"short copy": {"bytes", []history.Op{op(put, 0, 0.5, writes(1), at("source")), copied, op(get, 2, 3, saw(7), body(history.Segment{Write: 1, Len: 64}))}},
		"elsewhere":  {"range", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(36, 96))}},
		"half":       {"range", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(20, 50))}},
		"not cut":    {"range", []history.Op{op(put, 0, 1, writes(1)), op(get, 2, 3, ranged(0, 100))}},
		"lacking":    {"listing-lacks", []history.Op{op(put, 0, 1, writes(1)), op(list, 2, 3, listed())}},
		"old page":   {"listing-stale", []history.Op{op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2)), op(list, 4, 5, listed(entry(1)))}},
		"old walk":   {"listing-stale", []history.Op{op(put, 0, 1, writes(1)), op(put, 2, 3, writes(2)), op(list, 6, 7, listed(entry(1)), walk(4))}},
		"resurrects": {"listing-stale", []history.Op{op(put, 0, 1, writes(1)), op(del, 2, 3), op(list, 4, 5, listed(entry(1)))}},
		"aborted":    {"aborted", []history.Op{op(history.Abort, 0, 1, upload("u")), op(complete, 2, 3, writes(1), upload("u"))}},
		"changes": {"version-changed", []history.Op{
			op(put, 0, 1, writes(1), ofVersion("v")), op(put, 0, 1, writes(2), ofVersion("w")),
			op(history.GetVersion, 2, 3, saw(2), ofVersion("v")),
		}},
		"forgets": {"version-lost", []history.Op{
			op(put, 0, 1, writes(1), ofVersion("v")), op(history.GetVersion, 2, 3, saw(0), func(o *history.Op) { o.Version = "v" }),
		}},
		"expired":    {"expired", []history.Op{op(history.UseExpired, 0, 1)}},
		"unreadable": {"unreadable", []history.Op{op(get, 0, 1, refused(history.Unreadable))}},
	} {
		if got := kinds(c.ops); !slices.Contains(got, c.want) {
			t.Errorf("%s: found %v, want %s", name, got, c.want)
		}
	}
}

// simulate plays a register honestly: each operation has its effect at an instant inside its time.
func simulate(rng *rand.Rand, n int) []history.Op {
	type event struct {
		at time.Duration
		do func()
	}
	ops := make([]history.Op, 0, n) // pointers into it stay good
	var events []event
	state := history.Absent
	for i := range n {
		start := time.Duration(rng.IntN(n*200)) * time.Millisecond
		end := start + time.Duration(1+rng.IntN(900))*time.Millisecond
		ops = append(ops, history.Op{Kind: get, Bucket: "b", Key: "k", Start: start, End: end, Outcome: history.OK})
		o := &ops[i]
		act := func() { saw(state)(o) }
		switch pick := rng.IntN(10); {
		case pick < 4:
			o.Kind = put
			writes(history.Write(i + 1))(o)
			lost := rng.IntN(6) == 0
			if lost {
				unknown(o)
				end += time.Duration(rng.IntN(5000)) * time.Millisecond // it may come long after
			}
			w := o.Write
			act = func() { state = w }
			if lost && rng.IntN(2) == 0 {
				act = func() {}
			}
		case pick < 5:
			o.Kind = del
			act = func() { state = history.Absent }
		}
		events = append(events, event{start + time.Duration(rng.Int64N(int64(end-start))), act})
	}
	slices.SortFunc(events, func(a, b event) int { return int(a.at - b.at) })
	for _, e := range events {
		e.do()
	}
	return ops
}

func TestRandomHistories(t *testing.T) {
	found, changed := 0, 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		ops := simulate(rng, 40)
		if got := kinds(ops); len(got) > 0 {
			t.Fatalf("seed %d: an honest history is blamed for %v", seed, got)
		}
		// One answer is made to show what it cannot: a value that was over, or that had not begun.
		for i, o := range ops {
			if o.Kind != get || o.Saw == nil {
				continue
			}
			j := slices.IndexFunc(ops, func(w history.Op) bool { return w.Kind == put && w.Start > o.End })
			if j < 0 {
				continue
			}
			saw(ops[j].Write)(&ops[i])
			changed++
			if len(kinds(ops)) > 0 {
				found++
			}
			break
		}
	}
	if changed < 200 || found != changed {
		t.Errorf("%d of %d impossible answers found", found, changed)
	}
}

// TestOrderTellsWhetherOnlyUnansweredWritesAreOutOfIt: reads that show a write without an answer, then
// what was there before, are one thing; reads of two acknowledged writes by turns another.
func TestOrderTellsWhetherOnlyUnansweredWritesAreOutOfIt(t *testing.T) {
	t.Parallel()
	shown := func(values ...history.Write) []history.Op {
		var out []history.Op
		for i, w := range values {
			out = append(out, op(history.Get, 20+float64(i), 20.5+float64(i), saw(w)))
		}
		return out
	}
	first := op(history.Put, 0, 1, writes(1))
	for name, c := range map[string]struct {
		ops        []history.Op
		unanswered bool
	}{
		"a write":           {append(shown(2, 1, 2), first, op(history.Put, 3, 4, writes(2), unknown)), true},
		"a delete":          {append(shown(history.Absent, 1), first, op(history.Delete, 3, 4, unknown)), true},
		"both acknowledged": {append(shown(2, 1, 2), first, op(history.Put, 2, 30, writes(2))), false},
		"acknowledged ones too": {append(shown(2, 1, 3, 1, 3), first,
			op(history.Put, 3, 4, writes(2), unknown), op(history.Put, 3, 30, writes(3))), false},
	} {
		h := history.New(nil)
		for _, o := range c.ops {
			h.Add(o)
		}
		v := Check(h)
		if len(v) != 1 || v[0].Kind != "order" || v[0].Unanswered != c.unanswered {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
