package checker

import (
	"github.com/bucketseal/bucketseal/chaos/history"
)

// keys holds that a KMS key that was deleted opens and seals nothing any more, once the time is over for which
// servers may keep it.
func (l *ledger) keys() []Violation {
	ended := map[string]*history.Op{}
	for i := range l.ops {
		o := &l.ops[i]
		if first := ended[o.Seal]; o.Kind == history.DeleteKey && o.Outcome == history.OK && (first == nil || o.End+o.Grace < first.End+first.Grace) {
			ended[o.Seal] = o
		}
	}
	if len(ended) == 0 {
		return nil
	}
	var out []Violation
	for i := range l.ops {
		o := &l.ops[i]
		if o.Outcome != history.OK || o.Saw == nil || o.Saw.Write == history.Absent {
			continue
		}
		w := l.written[o.Saw.Write]
		if w == nil {
			continue
		}
		if end := ended[w.Seal]; end != nil && o.Start > end.End+end.Grace {
			out = append(out, violation("key-survives", name{o.Bucket, o.Key}, []*history.Op{o, w, end},
				"%v under %s, %v after that was deleted", o, w.Seal, o.Start-end.End))
		}
	}
	return out
}
