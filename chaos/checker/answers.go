package checker

import (
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// bodies holds every byte that was read to what the write sent that the same answer names, also where
// the answer was cut off.
func (l *ledger) bodies() []Violation {
	var out []Violation
	copied := map[history.Write]*history.Op{}
	for i := range l.ops {
		o := &l.ops[i]
		if o.Saw == nil || o.Writes() || o.Saw.Write == history.Absent {
			continue
		}
		n := name{o.Bucket, o.Key}
		w := l.written[o.Saw.Write]
		if o.Saw.Digest != "" {
			out = append(out, violation("digest", n, []*history.Op{o}, "%v: %s", o, o.Saw.Digest))
		}
		switch {
		case w == nil:
			out = append(out, violation("phantom", n, []*history.Op{o}, "%v shows a write that nobody made", o))
		case w.Bucket != o.Bucket || w.Key != o.Key:
			out = append(out, violation("exchanged", n, []*history.Op{o, w}, "%v shows the write of another key, %s/%s", o, w.Bucket, w.Key))
		case w.Kind == history.Copy:
			out = append(out, l.copyOf(o, w, copied)...)
		case o.Saw.Size != w.Body.Size():
			out = append(out, violation("bytes", n, []*history.Op{o, w}, "%v: %d bytes, %d were written", o, o.Saw.Size, w.Body.Size()))
		case o.Saw.Body == nil && !o.Saw.Partial:
		case !o.Saw.Body.Equal(part(w.Body, o.Saw)):
			out = append(out, violation("bytes", n, []*history.Op{o, w}, "%v: %v, written was %v", o, o.Saw.Body, part(w.Body, o.Saw)))
		}
	}
	return out
}

func part(whole history.Body, saw *history.Value) history.Body {
	return whole.Cut(saw.First, saw.First+saw.Body.Size())
}

// tellable is how many bytes say whose they are, see package workload. Fewer of a copy say nothing, since the copy
// itself does not say of what it is one.
const tellable = 31

// copyOf judges what was read from a copy: whole writes of the source, to all readers the same.
func (l *ledger) copyOf(o, c *history.Op, copied map[history.Write]*history.Op) []Violation {
	n := name{o.Bucket, o.Key}
	if o.Saw.Body.Size() < tellable {
		return nil
	}
	from := l.sent[o.Saw.Body[0].Write]
	if from == nil {
		return []Violation{violation("bytes", n, []*history.Op{o, c}, "%v: a copy of what nobody wrote: %v", o, o.Saw.Body)}
	}
	if !o.Saw.Body.Equal(part(from.Body, o.Saw)) {
		return []Violation{violation("bytes", n, []*history.Op{o, c, from}, "%v: %v, the copied write was %v", o, o.Saw.Body, from.Body)}
	}
	if o.Saw.Size != from.Body.Size() {
		return []Violation{violation("bytes", n, []*history.Op{o, c, from}, "%v: %d bytes, the copied write had %d", o, o.Saw.Size, from.Body.Size())}
	}
	if other := copied[c.Write]; other != nil && l.sent[other.Saw.Body[0].Write] != from {
		return []Violation{violation("bytes", n, []*history.Op{o, other, c}, "%v and %v read different copies", o, other)}
	}
	copied[c.Write] = o
	return nil
}

// ranges holds that the bytes of a range are those that were asked for. An answer whose own Content-Range tells of
// other ones agrees with itself.
func (l *ledger) ranges() []Violation {
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if o.Range == nil || o.Outcome != history.OK || o.Saw == nil || o.Saw.Write == history.Absent {
			continue
		}
		end := o.Saw.First + o.Saw.Body.Size()
		if o.Saw.First != o.Range.First || end != min(o.Range.End, o.Saw.Size) {
			out = append(out, violation("range", name{o.Bucket, o.Key}, []*history.Op{o},
				"%v: bytes %d to %d of %d, asked for were %d to %d", o, o.Saw.First, end, o.Saw.Size, o.Range.First, o.Range.End))
		}
	}
	return out
}

// seals holds the encryption that answers tell to what the write asked for or was told.
func (l *ledger) seals() []Violation {
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if o.Saw == nil || o.Outcome != history.OK || o.Saw.Write == history.Absent {
			continue
		}
		w := l.written[o.Saw.Write]
		if w == nil {
			continue
		}
		// A copy or a Complete that takes long keeps its client waiting with white space: its headers
		// have left before its object is there, and tell nothing of it.
		if o.Saw.Seal == "" && (o.Kind == history.Copy || o.Kind == history.Complete) {
			continue
		}
		want := w.Seal
		if want == "" && w.Saw != nil {
			want = w.Saw.Seal
		}
		if want != "" && o.Saw.Seal != want {
			out = append(out, violation("seal", name{o.Bucket, o.Key}, []*history.Op{o, w}, "%v: sealed by %q, not by %q", o, o.Saw.Seal, want))
		}
	}
	return out
}

// uploads holds that an upload that was aborted is not completed afterwards. One that may have been completed
// before was not aborted: there was nothing left to abort, and a repeated Complete is answered as the first was.
func (l *ledger) uploads() []Violation {
	completed, aborted := map[string]time.Duration{}, map[string]*history.Op{}
	for i := range l.ops {
		o := &l.ops[i]
		if first, known := completed[o.Upload]; o.Kind == history.Complete && o.Outcome != history.Failed && (!known || o.Start < first) {
			completed[o.Upload] = o.Start
		}
	}
	for i := range l.ops {
		o := &l.ops[i]
		if o.Kind != history.Abort || o.Outcome != history.OK {
			continue
		}
		if first, known := completed[o.Upload]; !known || first > o.End {
			aborted[o.Upload] = o
		}
	}
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if o.Kind != history.Complete || o.Outcome != history.OK {
			continue
		}
		if a := aborted[o.Upload]; a != nil && a.End < o.Start {
			out = append(out, violation("aborted", name{o.Bucket, o.Key}, []*history.Op{a, o}, "%v after %v", o, a))
		}
	}
	return out
}

// expired holds that nothing is answered to credentials that are no more.
func (l *ledger) expired() []Violation {
	var out []Violation
	for i := range l.ops {
		if o := &l.ops[i]; o.Kind == history.UseExpired && o.Outcome == history.OK {
			out = append(out, violation("expired", name{o.Bucket, o.Key}, []*history.Op{o}, "%v was let in with %s", o, o.ExpiredNote))
		}
	}
	return out
}

// unreadable names what could not be read in the end, though no fault was left.
func (l *ledger) unreadable() []Violation {
	var out []Violation
	for i := range l.ops {
		if o := &l.ops[i]; o.Code == history.Unreadable {
			out = append(out, violation("unreadable", name{o.Bucket, o.Key}, []*history.Op{o}, "%v", o))
		}
	}
	return out
}

// rules holds that a bucket's rule binds from the answer on that set it.
func (l *ledger) rules() []Violation {
	set := map[string][]*history.Op{}
	for i := range l.ops {
		if o := &l.ops[i]; o.Kind == history.SetRule {
			set[o.Bucket] = append(set[o.Bucket], o)
		}
	}
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if o.Outcome != history.OK || set[o.Bucket] == nil {
			continue
		}
		saw := o.Rule
		switch {
		case o.Kind == history.Put && o.ByRule && o.Saw != nil:
			saw = o.Saw.Seal
		case o.Kind != history.GetRule:
			continue
		}
		last, untouched := possible(set[o.Bucket], o.Start, o.End)
		if untouched || slices.ContainsFunc(last, func(r *history.Op) bool { return r.Rule == saw }) {
			continue
		}
		out = append(out, violation("rule", name{o.Bucket, o.Key}, append([]*history.Op{o}, last...),
			"%v was under %q, but the rule was one of %v", o, saw, rulesOf(last)))
	}
	return out
}

func rulesOf(ops []*history.Op) []string {
	var out []string
	for _, o := range ops {
		out = append(out, o.Rule)
	}
	return out
}
