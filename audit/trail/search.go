package trail

import (
	"bytes"
	"context"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Query says which lines are looked for. Zero values match every line.
type Query struct {
	// Bucket and Object are matched exactly; an Object that ends in * is a beginning.
	Bucket, Object string
	// Target is a value of an administrator's request: an account, a group, a policy, a key; one
	// that ends in * is a beginning.
	Target string
	// AccessKey matches who asked, and those who vouch for it.
	AccessKey string
	// KMSKey is the KMS key that was used.
	KMSKey string
	// Request is a request's id, Kind a line's kind, Operation an operation's name, Outcome
	// one of audit's constants.
	Request, Kind, Operation, Outcome string
	// Since and Until bound the time: from Since on, before Until.
	Since, Until time.Time
	// Limit is how many lines are returned, the last ones; 0 is 1,000.
	Limit int
}

// Search returns the lines that match, in the order of their files, and whether there were
// more before them. It verifies nothing. Lines that cannot be read are left out.
func Search(ctx context.Context, names []string, q Query) (lines []*Line, more bool, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	files, err := inOrder(names)
	if err != nil {
		return nil, false, err
	}
	for _, f := range files {
		err := eachLine(f.name, func(number int, text []byte, _ bool) error {
			if number%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			l, err := Parse(text)
			if err != nil || !q.matches(l) {
				return nil //nolint:nilerr // Verify finds it
			}
			l.Body = nil
			if len(lines) >= 2*limit { // the older half goes
				lines, more = append(lines[:0], lines[len(lines)-limit:]...), true
			}
			lines = append(lines, l)
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	if len(lines) > limit {
		lines, more = lines[len(lines)-limit:], true
	}
	return lines, more, nil
}

// SealedUnder counts the keys that have signed the lines of files, and lie under a KMS key, by its
// versions; with an error those of the files before. It verifies nothing.
func SealedUnder(names []string, kmsKey string) (map[uint32]int, error) {
	counts, seen := make(map[uint32]int), make(map[string]bool)
	for _, name := range names {
		err := eachLine(name, func(_ int, text []byte, _ bool) error {
			if !bytes.Contains(text, []byte(`"kind":"signer"`)) { // nearly all
				return nil
			}
			l, err := Parse(text)
			if err != nil || l.Kind != "signer" || l.KMSKey != kmsKey || seen[string(l.Sealed)] {
				return nil //nolint:nilerr // Verify finds it
			}
			seen[string(l.Sealed)] = true
			counts[max(l.KMSVersion, 1)]++
			return nil
		})
		if err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// Files returns a log's files: those before it, the oldest first, and path itself.
func Files(path string) ([]string, error) {
	names, err := filepath.Glob(escapeGlob(path) + ".2*Z")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return append(names, path), nil
}

// escapeGlob makes a pattern that matches text alone.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(text)
}

func (q *Query) matches(l *Line) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	like := func(want, got string) bool {
		if prefix, ok := strings.CutSuffix(want, "*"); ok {
			return strings.HasPrefix(got, prefix)
		}
		return same(want, got)
	}
	object := like(q.Object, l.Object) && (q.Target == "" || slices.ContainsFunc(l.targets(), func(of string) bool { return like(q.Target, of) }))
	who := same(q.AccessKey, l.AccessKey) || slices.ContainsFunc(l.Via, func(v Voucher) bool { return v.AccessKey == q.AccessKey })
	return object && who && same(q.Bucket, l.Bucket) && same(q.KMSKey, l.KMSKey) && same(q.Request, l.Request) && same(q.Kind, l.Kind) &&
		same(q.Operation, l.Operation) && same(q.Outcome, l.Outcome) &&
		(q.Since.IsZero() || !l.Time.Before(q.Since)) && (q.Until.IsZero() || l.Time.Before(q.Until))
}

// targets are the values of a line's target.
func (l *Line) targets() []string {
	named, err := url.ParseQuery(l.Target)
	if err != nil || l.Target == "" { // it was cut
		return nil
	}
	return slices.Concat(slices.Collect(maps.Values(named))...)
}
