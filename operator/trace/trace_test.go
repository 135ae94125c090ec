package trace

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestTraceParentsOfW3C(t *testing.T) {
	t.Parallel()
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ids, ok := Parse(good)
	if !ok || !ids.Sampled || ids.String() != good {
		t.Fatalf("%v, %v", ids, ok)
	}
	if ids, ok := Parse(strings.TrimSuffix(good, "1") + "0"); !ok || ids.Sampled {
		t.Errorf("not sampled: %v, %v", ids, ok)
	}
	if ids, ok := Parse("cc" + good[2:] + "-what-the-future-will-be-like"); !ok || ids.String() != good {
		t.Errorf("a later version: %v, %v", ids, ok)
	}
	for name, bad := range map[string]string{
		"nothing": "", "short": good[:54], "more": good + "-x", "version ff": "ff" + good[2:], "capitals": strings.ToUpper(good),
		"no trace": "00-00000000000000000000000000000000-b7ad6b7169203331-01", "no span": "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"no dash": strings.Replace(good, "-b7", "_b7", 1), "later without a dash": "cc" + good[2:] + ".x", "no digits": strings.Replace(good, "b7", "g7", 1),
	} {
		if ids, ok := Parse(bad); ok {
			t.Errorf("%s: %v", name, ids)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")
	f.Fuzz(func(t *testing.T, s string) {
		ids, ok := Parse(s)
		if !ok {
			return
		}
		if again, ok := Parse(ids.String()); !ok || again != ids {
			t.Errorf("%q: %v, %v", s, ids, again)
		}
		if s[3:52] != ids.String()[3:52] {
			t.Errorf("%q is read as %q", s, ids)
		}
	})
}

// What is not traced costs no allocation.
func TestNoSpanAllocatesNothing(t *testing.T) {
	ctx := context.WithValue(context.Background(), struct{ a int }{1}, "other")
	failed := errors.New("failed")
	if n := testing.AllocsPerRun(100, func() { work(ctx, failed) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func work(ctx context.Context, err error) {
	ctx, span := Begin(ctx, nil, "request", Parent{TraceParent: "x"})
	ctx, child := Start(ctx, "keys")
	child.Set("k", "v")
	child.SetInt("n", 1)
	child.FailWith(err, "why")
	child.End()
	_ = TraceParent(ctx)
	span.Status(500)
	_ = span.SampledID()
	span.End()
}

func BenchmarkNoSpan(b *testing.B) {
	ctx := context.WithValue(context.Background(), struct{ a int }{1}, "other")
	for b.Loop() {
		work(ctx, nil)
	}
}
