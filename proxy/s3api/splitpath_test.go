package s3api

import (
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/route"
)

// The shapes of S3's paths are these patterns; splitPath is what they say.
func TestPathsAreSplitAsThePatternsSay(t *testing.T) {
	t.Parallel()
	patterns := []struct {
		re    *regexp.Regexp
		scope route.Scope
	}{
		{regexp.MustCompile(`^/([^/]+)/((?s:.+))$`), route.Object},
		{regexp.MustCompile(`^/([^/]+)/()$`), route.Bucket},
		{regexp.MustCompile(`^/([^/]+)()$`), route.Bucket},
		{regexp.MustCompile(`^/()()$`), route.Service},
	}
	check := func(path string) {
		var scope route.Scope
		var bucket, key string
		matched := false
		for _, p := range patterns {
			if m := p.re.FindStringSubmatch(path); m != nil {
				scope, bucket, key, matched = p.scope, m[1], m[2], true
				break
			}
		}
		gotScope, gotBucket, gotKey, ok := splitPath(path)
		if ok != matched || ok && (gotScope != scope || gotBucket != bucket || gotKey != key) {
			t.Errorf("%q is %v %q %q %v, want %v %q %q %v", path, gotScope, gotBucket, gotKey, ok, scope, bucket, key, matched)
		}
	}
	for _, path := range []string{"", "*", "b", "/", "//", "///", "/b", "/b/", "/b//", "/b/k", "/b//k", "//b/k", "/b/k/", "/b/a\nb", "/\xff/\xff", "/b%2Fk"} {
		check(path)
	}
	const letters = "//ab%2F\n\xff."
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same paths each time
	for range 20_000 {
		path := make([]byte, random.IntN(10))
		for i := range path {
			path[i] = letters[random.IntN(len(letters))]
		}
		check(string(path))
	}
}
