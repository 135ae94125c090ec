package client

import (
	"slices"
	"testing"
	"time"
)

func testPool(urls ...string) (*pool, *time.Time) {
	now := time.Unix(1000, 0)
	p := newPool(urls)
	p.now = func() time.Time { return now }
	p.rand = func(int) int { return 1 }
	return p, &now
}

func names(endpoints []*endpoint) []string {
	var urls []string
	for _, e := range endpoints {
		urls = append(urls, e.url)
	}
	return urls
}

func TestLocalEndpointsComeFirstThenARandomOne(t *testing.T) {
	t.Parallel()
	p, _ := testPool("https://a:1", "https://b:1", "https://127.0.0.1:1", "https://c:1", "https://localhost:2", "https://[::1]:3")
	want := []string{"https://127.0.0.1:1", "https://localhost:2", "https://[::1]:3", "https://b:1", "https://c:1", "https://a:1"}
	if got := names(p.order()); !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestFailedEndpointIsSetAsideAndProbedOnce(t *testing.T) {
	t.Parallel()
	p, now := testPool("https://a:1", "https://b:1")
	a := p.endpoints[0]
	p.done(a, true)
	*now = now.Add(asideFor - time.Second)
	if got := names(p.order()); !slices.Equal(got, []string{"https://b:1"}) {
		t.Fatalf("set aside: got %q", got)
	}
	*now = now.Add(2 * time.Second)
	if got := names(p.order()); !slices.Equal(got, []string{"https://a:1", "https://b:1"}) {
		t.Fatalf("probe: got %q", got)
	}
	if got := names(p.order()); !slices.Equal(got, []string{"https://b:1"}) {
		t.Fatalf("second probe: got %q", got)
	}
	p.done(a, true)
	if got := names(p.order()); !slices.Equal(got, []string{"https://b:1"}) {
		t.Fatalf("failed probe: got %q", got)
	}
	*now = now.Add(asideFor)
	p.skipped(p.order())
	p.order()
	p.done(a, false)
	if got := p.order(); len(got) != 2 || a.probing {
		t.Fatalf("recovered: got %q", names(got))
	}
}

func TestEndpointsThatAllFailedAreTriedAnyway(t *testing.T) {
	t.Parallel()
	p, _ := testPool("https://a:1", "https://b:1")
	for _, e := range p.endpoints {
		p.done(e, true)
	}
	if got := p.order(); len(got) != 2 {
		t.Fatalf("got %q", names(got))
	}
	p, _ = testPool("https://a:1")
	p.done(p.endpoints[0], true)
	if got := p.order(); len(got) != 1 {
		t.Fatalf("got %q", names(got))
	}
}
