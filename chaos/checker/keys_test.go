package checker

import (
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

func TestADeletedKeyOpensNothing(t *testing.T) {
	asks := func(seal string) func(*history.Op) { return func(o *history.Op) { o.Seal = seal } }
	ends := func(seal string, grace time.Duration) func(*history.Op) {
		return func(o *history.Op) { o.Bucket, o.Key, o.Seal, o.Grace = "", "", seal, grace }
	}
	tells := func(seal string) func(*history.Op) { return func(o *history.Op) { o.Saw.Seal = seal } }
	const a, b = "aws:kms:a", "aws:kms:b"
	written := op(put, 0, 1, writes(1), asks(a), tells(a))
	ended := op(history.DeleteKey, 2, 3, ends(a, 8*time.Second))
	gone := refused("KMS.NotFoundException")
	for name, c := range map[string]struct {
		ops  []history.Op
		want bool
	}{
		"refused":            {[]history.Op{written, ended, op(get, 12, 13, gone)}, false},
		"read in its grace":  {[]history.Op{written, ended, op(get, 10, 14, saw(1), tells(a))}, false},
		"read afterwards":    {[]history.Op{written, ended, op(get, 12, 13, saw(1), tells(a))}, true},
		"looked at":          {[]history.Op{written, ended, op(history.Head, 12, 13, saw(1), tells(a))}, true},
		"of another key":     {[]history.Op{written, op(history.DeleteKey, 2, 3, ends(b, 0)), op(get, 12, 13, saw(1), tells(a))}, false},
		"perhaps deleted":    {[]history.Op{written, op(history.DeleteKey, 2, 3, ends(a, 0), unknown), op(get, 12, 13, saw(1), tells(a))}, false},
		"written afterwards": {[]history.Op{ended, op(put, 12, 13, writes(1), asks(a), tells(a))}, true},
		"deleted again":      {[]history.Op{written, ended, op(history.DeleteKey, 20, 21, ends(a, 8*time.Second)), op(get, 22, 23, saw(1), tells(a))}, true},
		"object deleted":     {[]history.Op{written, ended, op(del, 12, 13), op(get, 14, 15, saw(0))}, false},
	} {
		if got := kinds(c.ops); slices.Contains(got, "key-survives") != c.want || !c.want && len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}
