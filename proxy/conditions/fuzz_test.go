package conditions

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Of one list, If-Match and If-None-Match hold of opposite objects; one that names the object
// holds, however much stands beside it, and what is judged of a read is judged of a write.
func FuzzLists(f *testing.F) {
	f.Add(`"a"`, "a")
	f.Add(`W/"a", "b"`, `"b"`)
	f.Add("*", "x")
	f.Add(`"a,b"`, `"a,b"`)
	f.Add(",,", "")
	f.Fuzz(func(t *testing.T, list, etag string) {
		match, none := (&Read{IfMatch: list}).Check(etag, time.Time{}), (&Read{IfNoneMatch: list}).Check(etag, time.Time{})
		if list != "" && (match == nil) == (none == nil) {
			t.Fatalf("If-Match and If-None-Match of %q both say %v and %v of %q", list, match, none, etag)
		}
		if match != nil && !errors.Is(match, ErrPrecondition) || none != nil && !errors.Is(none, ErrNotModified) {
			t.Fatalf("%q: %v, %v", list, match, none)
		}
		if etag == "" {
			if w := (Write{IfMatch: list}).Check(""); (w != nil) != (list != "") || w != nil && !errors.Is(w, ErrNoSuchKey) {
				t.Fatalf("If-Match %q of nothing: %v", list, w)
			}
			return
		}
		if w := (Write{IfMatch: list}).Check(etag); (w == nil) != (match == nil) {
			t.Fatalf("%q of %q: %v of a write, %v of a read", list, etag, w, match)
		}
		if w := (Write{IfNoneMatch: list}).Check(etag); (w == nil) != (none == nil) {
			t.Fatalf("no %q of %q: %v of a write, %v of a read", list, etag, w, none)
		}
		if (Write{IfNoneMatch: list}).Absent() && (Write{IfNoneMatch: list}).Check(etag) == nil {
			t.Fatalf("%q wants nothing there, and %q is", list, etag)
		}
		if bare := strings.Trim(etag, `"`); !strings.Contains(etag, ",") && strings.TrimSpace(bare) == bare && !strings.HasPrefix(bare, "W/") {
			if err := (&Read{IfMatch: list + `, "` + bare + `"`}).Check(etag, time.Time{}); err != nil {
				t.Fatalf("%q beside %q: %v", etag, list, err)
			}
		}
	})
}
