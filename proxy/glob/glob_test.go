package glob

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMatchPattern(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "anything", true},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{"a*", "a", true},
		{"a*", "abc", true},
		{"a*", "ba", false},
		{"*c", "abc", true},
		{"*c", "abcd", false},
		{"a*c", "ac", true},
		{"a*c", "abcbc", true},
		{"a*c", "abcb", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"?", "", false},
		{"??", "ab", true},
		{"*?", "a", true},
		{"*?", "", false},
		{"**", "abc", true},
		{"*-backup-*", "old-backup-2024", true},
		{"*-backup-*", "old-backup", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"public-?*", "public-", false},
		{"public-?*", "public-x", true},
	} {
		if got := matchPattern(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q of %q: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestNoPatternMatchesNothing(t *testing.T) {
	t.Parallel()
	if Patterns(nil).Match("a") || Patterns(nil).Match("") {
		t.Error("an empty list matches")
	}
	if !(Patterns{"x", "a*"}).Match("abc") || (Patterns{"x", "y"}).Match("abc") {
		t.Error("a list does not match by any of its patterns")
	}
}

func TestMatchPatternIsFast(t *testing.T) {
	t.Parallel()
	began := time.Now()
	if matchPattern(strings.Repeat("*a", 30)+"b", strings.Repeat("a", 63)) {
		t.Error("a pattern that ends with b matches a name without")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("one match took %v", took)
	}
}

func FuzzMatchPattern(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 64 || len(name) > 64 || strings.ContainsFunc(pattern+name, func(r rune) bool { return r > 127 }) {
			return // bucket names are ASCII
		}
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(quoted)
		if want := regexp.MustCompile(`(?s)^` + quoted + `$`).MatchString(name); want != matchPattern(pattern, name) {
			t.Errorf("%q of %q: want %v", pattern, name, want)
		}
	})
}
