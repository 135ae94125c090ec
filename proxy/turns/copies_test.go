package turns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/bucketseal/bucketseal/sse"
)

func TestCopiesInACircleWaitForEachOther(t *testing.T) {
	t.Parallel()
	name := func(key string) sse.Name { return sse.Name{Bucket: "b", Key: key} }
	for _, tt := range []struct {
		what     string
		running  [][2]string
		from, to string
		waits    bool
	}{
		{"alone", nil, "a", "b", false},
		{"the opposite direction", [][2]string{{"a", "b"}}, "b", "a", true},
		{"the same once more", [][2]string{{"a", "b"}}, "a", "b", false},
		{"from the same source", [][2]string{{"a", "b"}}, "a", "c", false},
		{"to the same name", [][2]string{{"a", "b"}}, "c", "b", false},
		{"a chain", [][2]string{{"a", "b"}}, "b", "c", false},
		{"a circle of three", [][2]string{{"a", "b"}, {"b", "c"}}, "c", "a", true},
		{"onto itself", [][2]string{{"a", "b"}, {"b", "b"}}, "b", "b", false},
		{"past one onto itself", [][2]string{{"b", "b"}, {"b", "c"}}, "c", "b", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var c Copies
			var ends []func()
			for _, copied := range tt.running {
				end, err := c.Begin(t.Context(), name(copied[0]), name(copied[1]))
				if err != nil {
					t.Fatal(err)
				}
				ends = append(ends, end)
			}
			begun := make(chan func(), 1)
			go func() {
				end, err := c.Begin(t.Context(), name(tt.from), name(tt.to))
				if err != nil {
					t.Error(err)
				}
				begun <- end
			}()
			synctest.Wait()
			if waits := len(begun) == 0; waits != tt.waits {
				t.Errorf("%s: waits: %v", tt.what, waits)
			}
			for _, end := range ends {
				end()
			}
			(<-begun)()
			if len(c.running) != 0 || c.changed != nil {
				t.Errorf("%s: left are %v", tt.what, c.running)
			}
		})
	}
}

func TestACopyThatWaitsEndsWithItsClient(t *testing.T) {
	t.Parallel()
	var c Copies
	a, b := sse.Name{Bucket: "b", Key: "a"}, sse.Name{Bucket: "b", Key: "b"}
	end, err := c.Begin(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := c.Begin(ctx, b, a); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
	end()
	if len(c.running) != 0 {
		t.Errorf("left are %v", c.running)
	}
}
