package offline_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/sse"
)

// notesCopy is a copy of a system bucket with a folder of wraps, which counts how often it is read.
type notesCopy struct {
	offline.Source
	names []string
	walks int
}

func (c *notesCopy) Walk(_ context.Context, bucket, prefix string, visit func(*offline.Object) error) error {
	c.walks++
	for _, name := range c.names {
		if len(name) < len(prefix) || name[:len(prefix)] != prefix {
			continue
		}
		if err := visit(&offline.Object{Name: sse.Name{Bucket: bucket, Key: name}, Latest: true}); err != nil {
			return err
		}
	}
	return nil
}

// Each re-wrapped object asks for its wraps, which lie in one folder with those of all others.
func TestAFolderOfWrapsIsReadOnce(t *testing.T) {
	t.Parallel()
	c := &notesCopy{}
	for i := range 100 { // newest first: a copy is in no order
		for wrap := range 2 {
			c.names = append(c.names, fmt.Sprintf("wrap/many/%02d/%d", 99-i, 1-wrap))
		}
	}
	for i := range 100 {
		c.names = append(c.names, fmt.Sprintf("wrap/many/flat%02d.0", i), fmt.Sprintf("wrap/other/%02d", i))
	}
	s := offline.SystemObjects(c, "system")
	list := func(prefix, after string) (names []string) {
		t.Helper()
		notes, more, err := s.ListNotes(t.Context(), prefix, after)
		if err != nil || more {
			t.Fatalf("%v, more %t", err, more)
		}
		for _, n := range notes {
			names = append(names, n.Name)
		}
		return names
	}
	for i := range 100 {
		if got := list(fmt.Sprintf("wrap/many/flat%02d.", i), ""); len(got) != 1 || got[0] != fmt.Sprintf("wrap/many/flat%02d.0", i) {
			t.Fatalf("%d: %v", i, got)
		}
	}
	if c.walks != 1 {
		t.Errorf("a folder was read %d times", c.walks)
	}
	if got := list("wrap/many/07/", ""); fmt.Sprint(got) != "[wrap/many/07/0 wrap/many/07/1]" {
		t.Error(got)
	}
	if got := list("wrap/many/07/", "wrap/many/07/0"); fmt.Sprint(got) != "[wrap/many/07/1]" {
		t.Error(got)
	}
	if c.walks != 1 {
		t.Errorf("a folder was read %d times, with those in it", c.walks)
	}
	if got := list("wrap/many/nothing", ""); len(got) != 0 {
		t.Error(got)
	}
	if got := list("wrap/", ""); len(got) != len(c.names) {
		t.Errorf("%d of %d", len(got), len(c.names))
	}
}
