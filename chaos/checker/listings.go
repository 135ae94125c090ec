package checker

import (
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// listings holds each page to what its keys may have been while it was made: nothing is missing that
// was acknowledged before and not touched since, nothing stands there that had ended. "Before" is before the
// listing's first page was asked for: MinIO answers the others from what it found for that one.
func (l *ledger) listings() []Violation {
	var out []Violation
	for i := range l.ops {
		if o := &l.ops[i]; o.Kind == history.List && o.Outcome == history.OK {
			out = append(out, l.page(o)...)
		}
	}
	return out
}

// covers tells whether a page would show a key that exists.
func covers(o *history.Op, key string) bool {
	return strings.HasPrefix(key, o.Prefix) && key > o.After && (o.Last == "" || key <= o.Last)
}

func (l *ledger) page(o *history.Op) []Violation {
	var out []Violation
	shown := map[string]history.Entry{}
	for _, e := range o.Listed {
		shown[e.Key] = e
	}
	for _, r := range l.byBucket[o.Bucket] {
		if r.stacked || !covers(o, r.key) {
			continue
		}
		e, there := shown[r.key]
		delete(shown, r.key)
		last, untouched := possible(r.writes, o.Listing(), o.End)
		if !there {
			gone := func(w *history.Op) bool { return w.Write == history.Absent }
			if !untouched && !slices.ContainsFunc(last, gone) {
				v := violation("listing-lacks", r.name, append([]*history.Op{o}, last...), "%v lacks %s, which held one of %v", o, r.key, last)
				v.Overwritten = slices.ContainsFunc(r.writes, func(w *history.Op) bool {
					return w.Start < o.End && w.Until() > o.Listing() && w.Outcome != history.Failed
				})
				out = append(out, v)
			}
			continue
		}
		if !slices.ContainsFunc(last, func(w *history.Op) bool { return l.fits(e, w) }) {
			out = append(out, violation("listing-stale", r.name, append([]*history.Op{o}, last...), "%v shows %+v, but it held one of %v", o, e, last))
		}
	}
	for key := range shown {
		if r := l.by[name{o.Bucket, key}]; r == nil {
			out = append(out, violation("phantom", name{o.Bucket, key}, []*history.Op{o}, "%v lists a key that nobody wrote", o))
		}
	}
	return out
}

// fits tells whether an entry can be that of a write, as far as the write's answer was known.
func (l *ledger) fits(e history.Entry, w *history.Op) bool {
	if w.Write == history.Absent {
		return false
	}
	if w.Saw != nil && w.Saw.ETag != "" && w.Saw.ETag != e.ETag {
		return false
	}
	return w.Body == nil || w.Body.Size() == e.Size
}
