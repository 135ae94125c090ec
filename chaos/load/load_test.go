package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/history"
	"github.com/bucketseal/bucketseal/chaos/workload"
)

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, tt := range []struct {
		of   []time.Duration
		p    float64
		want time.Duration
	}{{nil, 50, 0}, {[]time.Duration{7}, 50, 7}, {[]time.Duration{7}, 99, 7}, {hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred[:3], 50, 2}} {
		if got := Percentile(tt.of, tt.p); got != tt.want {
			t.Errorf("p%v of %d values is %v, want %v", tt.p, len(tt.of), got, tt.want)
		}
	}
}

func TestMemoryOfAProcess(t *testing.T) {
	t.Parallel()
	const text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nVmOdd:\t 3 MB\n"
	if n, err := statusLine(text, "VmRSS"); err != nil || n != 1<<20 {
		t.Errorf("%d, %v", n, err)
	}
	for _, name := range []string{"VmOdd", "VmNone"} {
		if n, err := statusLine(text, name); err == nil {
			t.Errorf("%s is %d", name, n)
		}
	}
}

// steady are samples of a run of a hundred seconds, which a function changes.
func steady(change func(i int, s *Sample)) []Sample {
	var all []Sample
	for i := range 100 {
		s := Sample{
			At: time.Duration(i+1) * time.Second, RSS: 200 << 20, Held: aftermath.Held{Goroutines: 1000, Descriptors: 2000, Heap: 100 << 20},
			Took: map[history.Kind][]time.Duration{history.Get: slices.Repeat([]time.Duration{30 * time.Millisecond}, 50)},
		}
		if change != nil {
			change(i, &s)
		}
		all = append(all, s)
	}
	return all
}

func TestWhatGrowsIsFound(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(int, *Sample)
		want   string // the first violation's detail begins so; "" for none
	}{
		"steady":       {nil, ""},
		"memory":       {func(i int, s *Sample) { s.RSS += int64(i) * (2 << 20) }, "resident memory"},
		"a little":     {func(i int, s *Sample) { s.RSS += int64(i) << 20 }, ""},
		"heap":         {func(i int, s *Sample) { s.Heap += int64(i) * (2 << 20) }, "heap"},
		"goroutines":   {func(i int, s *Sample) { s.Goroutines += 10 * i }, "goroutines"},
		"descriptors":  {func(i int, s *Sample) { s.Descriptors += 10 * i }, "descriptors"},
		"one peak":     {func(i int, s *Sample) { s.RSS += int64(i/99) << 30 }, ""},
		"only between": {func(i int, s *Sample) { s.RSS += int64(i%90/45) << 30 }, ""},
		"p50": {func(i int, s *Sample) {
			s.Took[history.Get] = slices.Repeat([]time.Duration{time.Duration(30+i) * time.Millisecond}, 50)
		}, "get, p50"},
		"p99": {func(i int, s *Sample) { s.Took[history.Get][0] = time.Duration(10*i) * time.Millisecond }, "get, p99"},
		"few": {func(i int, s *Sample) { s.Took[history.Get] = []time.Duration{time.Duration(i) * time.Second} }, ""},
	} {
		first, last, err := Tenths(steady(tt.change), 100*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		found := Compare(first, last)
		if len(found) == 0 != (tt.want == "") || tt.want != "" && !strings.HasPrefix(found[0].Detail, tt.want) {
			t.Errorf("%s: %v", name, found)
		}
	}
	if _, _, err := Tenths(steady(nil)[:1], time.Second); err == nil {
		t.Error("one sample is compared with itself")
	}
}

func TestErrorsThatClientsProvokeAreNone(t *testing.T) {
	t.Parallel()
	expected, others, kept := Errors([]history.Op{
		{Kind: history.Put, Outcome: history.OK},
		{Kind: history.Put, Outcome: history.Failed, Status: 412, Code: "PreconditionFailed"},
		{Kind: history.Get, Outcome: history.Failed, Status: 412, Code: "PreconditionFailed"},
		{Kind: history.Put, Outcome: history.Unknown, Status: 503, Code: "SlowDown"},
		{Kind: history.Put, Outcome: history.Unknown, Status: 503, Code: "SlowDown"},
		{Kind: history.Copy, Outcome: history.Unknown, Status: 503, Code: "SlowDownRead"},
	})
	if fmt.Sprint(expected) != "map[put: 412 PreconditionFailed:1]" || fmt.Sprint(others) != "map[get: 412 PreconditionFailed:1 put: 503 SlowDown:2]" {
		t.Errorf("%v and %v", expected, others)
	}
	if len(kept) != 1 || kept["copy"] != 1 || !Busy(3, 0) || Busy(4, 99) || !Busy(13, 1000) || Busy(14, 1000) {
		t.Errorf("busy: %v", kept)
	}
}

func TestContentGoesOn(t *testing.T) {
	t.Parallel()
	if whole := Content(0, 70_000); !bytes.Equal(Content(65_500, 100), whole[65_500:65_600]) || bytes.Equal(whole[:256], whole[256:512]) {
		t.Error("a piece is not what lies in the whole, or it repeats")
	}
}

// serve answers as a handler does, and closes connections whose headers take longer than limit.
func serve(t *testing.T, limit time.Duration, h http.HandlerFunc) workload.Target {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ReadHeaderTimeout = limit
	s.Start()
	t.Cleanup(s.Close)
	return workload.Target{URL: s.URL, AccessKey: "a", SecretKey: "s", Region: "us-east-1"}
}

func TestIdleConnectionsThatAreClosedAreCounted(t *testing.T) {
	t.Parallel()
	var kept []net.Conn
	conns := make(chan net.Conn, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns <- c
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	i, err := OpenIdle(t.Context(), workload.Target{URL: s.URL, AccessKey: "a", SecretKey: "s", Region: "r"}, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	for range 5 {
		kept = append(kept, <-conns)
	}
	if dead := i.Try(t.Context()); dead != 0 {
		t.Errorf("%d are dead", dead)
	}
	_ = kept[0].Close()
	_ = kept[3].Close()
	if dead := i.Try(t.Context()); dead != 2 {
		t.Errorf("%d are dead, and 2 were closed", dead)
	}
}

func TestSlowClientsTellWhatCameOfThem(t *testing.T) {
	t.Parallel()
	s := &Slow{object: 1 << 20, limits: Limits{ReadHeader: 2 * time.Second, Stall: time.Minute, Late: 5 * time.Second}, outcomes: map[string]int{}, sent: map[string]bool{}}
	s.target = serve(t, 2*time.Second, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1048576")
		_, _ = w.Write([]byte("other bytes"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if got := s.dawdle(ctx, 0); got != HeadersClosed {
		t.Errorf("headers: %q", got)
	}
	if got := s.read(ctx, 0); got != "read: wrong bytes at 0" || Expected(got) {
		t.Errorf("read: %q", got)
	}
	s.limits.ReadHeader = 10 * time.Second
	if got := s.dawdle(ctx, 0); got != "headers closed early" {
		t.Errorf("headers: %q", got)
	}
}

func TestListingsThatLackSomethingAreFound(t *testing.T) {
	t.Parallel()
	m := NewMany(workload.Target{}, 10, 3, 2)
	defer m.Close()
	lacks := -1
	m.Target = serve(t, 0, func(w http.ResponseWriter, r *http.Request) {
		first, _ := strconv.Atoi(r.URL.Query().Get("continuation-token"))
		_, _ = fmt.Fprintf(w, "<ListBucketResult><IsTruncated>%v</IsTruncated><NextContinuationToken>%d</NextContinuationToken>", first == 0, 4)
		for n := first; n < 4+first && n < 7; n++ {
			if n != lacks {
				_, _ = fmt.Fprintf(w, "<Contents><Key>%s</Key><ETag>&quot;%s&quot;</ETag><Size>10</Size></Contents>", key(n), m.etag(n))
			}
		}
		_, _ = w.Write([]byte("</ListBucketResult>"))
	})
	if pages, err := m.List(t.Context(), 7); pages != 2 || err != nil {
		t.Errorf("%d pages, %v", pages, err)
	}
	for _, lacks = range []int{0, 3, 6} {
		if _, err := m.List(t.Context(), 7); !errors.Is(err, ErrListing) {
			t.Errorf("without object %d: %v", lacks, err)
		}
	}
}
