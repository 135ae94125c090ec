package integration

import (
	"net/http"
	"testing"
)

// Profiles are on the address of the metrics, where they are asked for, and never
// where S3 is served: there their path is the name of an object.
func TestProfilesAreServedApart(t *testing.T) {
	t.Parallel()
	const path = "/debug/pprof/heap"
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	needsSeal(t)
	file := writeFile(t, t.TempDir(), "profiles.yml", []byte("metrics: {address: \""+metrics+"\", profiling: true}\n"))
	s := newStack(t, stackOptions{args: []string{"--config", file}})
	if got := askedStatus("http://" + metrics + path); got != http.StatusOK {
		t.Errorf("the metrics' address answers %d, want 200", got)
	}
	for _, path := range []string{path, "/debug/pprof/profile", "/debug/pprof/trace", "/debug/pprof/cmdline"} {
		s.client().anonymous().do(t, request{method: http.MethodGet, path: path}).wantError(t, http.StatusForbidden, "AccessDenied", "")
		s.client().do(t, request{method: http.MethodGet, path: path}).wantError(t, http.StatusNotFound, "NoSuchBucket", "")
	}
}
