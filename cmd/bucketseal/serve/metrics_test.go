package serve

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/config"
)

// metricsAt serves what a configuration says, with health paths that answer 200.
func metricsAt(t *testing.T, settings string) (url string) {
	t.Helper()
	c, err := config.Parse("m.yml", []byte("metrics: {address: \"127.0.0.1:0\""+settings+"}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetricsServer(context.Background(), c, sockets{}, newRegistry(), http.NotFoundHandler(), func(http.ResponseWriter, *http.Request) {})
	if err != nil {
		t.Fatal(err)
	}
	go m.serve()
	t.Cleanup(m.close)
	return "http://" + m.listener.Addr().String()
}

func statusOf(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

var profilePaths = []string{
	"/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1", "/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/mutex",
	"/debug/pprof/block", "/debug/pprof/threadcreate",
}

func TestProfilesAreOffByDefault(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"", ", profiling: false"} {
		url := metricsAt(t, settings)
		if status, _ := statusOf(t, url+"/metrics"); status != http.StatusOK {
			t.Errorf("/metrics: %d", status)
		}
		for _, path := range append([]string{"/debug/pprof/", "/debug/pprof/goroutine"}, profilePaths...) {
			if status, _ := statusOf(t, url+path); status != http.StatusNotFound {
				t.Errorf("%s: %d, want 404", path, status)
			}
		}
	}
}

func TestProfilesWhereConfigured(t *testing.T) {
	t.Parallel()
	url := metricsAt(t, ", profiling: true")
	for _, path := range profilePaths {
		if status, body := statusOf(t, url+path); status != http.StatusOK || body == "" {
			t.Errorf("%s: %d, %d bytes", path, status, len(body))
		}
	}
	// Arguments on stacks can be pieces of keys.
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/vars"} {
		if status, _ := statusOf(t, url+path); status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
	if status, body := statusOf(t, url+"/debug/pprof/heap?debug=1"); status != http.StatusOK || !strings.Contains(body, "heap profile") {
		t.Errorf("heap in words: %d %.100q", status, body)
	}
}

func TestProfilesNeedAnAddress(t *testing.T) {
	t.Parallel()
	if _, err := config.Parse("m.yml", []byte("metrics: {profiling: true}\n"), nil); err == nil || !strings.Contains(err.Error(), "metrics.address") {
		t.Errorf("profiles without an address: %v", err)
	}
}
