package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the plain proxy, which is started as a process of
// its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "proxy" {
		main()
		return
	}
	os.Exit(m.Run())
}

// needsPrograms skips what starts servers where none are named.
func needsPrograms(t *testing.T) {
	t.Helper()
	for _, name := range []string{"BUCKETSEAL_BIN", "MINIO_BIN"} {
		if os.Getenv(name) == "" {
			t.Skipf("%s is not set; `make integration` sets it", name)
		}
	}
}

// One short run over some targets writes all that it is asked for.
func TestShortRun(t *testing.T) {
	needsPrograms(t)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("page.md"), []byte("# Page\n"+pageBegin+pageEnd), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	err := runCommand(ctx, []string{
		"-short", "-dir", dir, "-targets", "proxy,self-s3,seal-s3,seal-kms", "-rounds", "1", "-slot", "20ms", "-tls", "some",
		"-works", "get-4k-16*,put-4k-16,put-1m-2,list-cold-1",
		"-json", file("out.json"), "-page", file("page.md"), "-chart", file("chart.svg"),
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file("out.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 5 || len(r.Goals) != 9 {
		t.Errorf("%d rows and %d goals", len(r.Rows), len(r.Goals))
	}
	for _, row := range r.Rows {
		for _, name := range []string{"proxy", "self-s3", "seal-s3", "seal-kms"} {
			c := row.cell(name)
			if c == nil || c.Rate.Median <= 0 || c.P50 <= 0 || c.P99 < c.P50 || c.CPU <= 0 {
				t.Errorf("%s at %s: %+v", row.Name, name, c)
			}
		}
		if up := row.cell("seal-s3").Upstream; !strings.HasSuffix(row.Name, "-tls") && (up == nil || up.Requests < 1 || up.Bytes <= 0) {
			t.Errorf("%s: upstream %+v", row.Name, up)
		}
		if c := row.cell("seal-s3"); c.Allocs <= 0 || c.Peak < mib {
			t.Errorf("%s: %v allocations, peak %d", row.Name, c.Allocs, c.Peak)
		}
	}
	page, err := os.ReadFile(file("page.md"))
	if err != nil || !strings.Contains(string(page), "| GET 4 KiB, 16 clients, TLS |") {
		t.Errorf("the page, %v:\n%s", err, page)
	}
	if chart, err := os.ReadFile(file("chart.svg")); err != nil || !strings.Contains(string(chart), "</svg>") {
		t.Errorf("the chart: %v", err)
	}
	left, err := filepath.Glob(file("bucketseal-benchmark-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Every operation works at every target, and what is read back is what was stored.
func TestEveryOperationAtEveryTarget(t *testing.T) {
	needsPrograms(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	err := inLab(t.TempDir(), func(l *lab) error {
		targets, err := l.start(ctx, kinds[:6], false, t.Logf)
		if err != nil {
			return err
		}
		for _, target := range targets {
			for _, w := range []work{
				{op: "range", size: 2 * mib, clients: 2},
				{op: "copy", size: 4 * kib, clients: 2},
				{op: "delete", size: 4 * kib, clients: 2},
				{op: "multipart", size: 20 * mib, clients: 1},
			} {
				w.slot = time.Millisecond
				if err := w.prepareOnce(ctx, target); err != nil {
					return err
				}
				if s, err := w.measure(ctx, target); err != nil || s.Ops < w.clients {
					t.Errorf("%s at %s: %+v, %v", w.name(), target.name, s, err)
				}
			}
			err := each(ctx, target, 1, func(_ int, c *connection) error {
				var got []byte
				c.keep = func(b []byte) { got = append(got, b...) }
				_, _, err := c.do(target.get(time.Now(), "multipart/20m/0000", 20*mib))
				if err == nil && !slices.Equal(got, content()[:20*mib]) {
					t.Errorf("%s gives other bytes than it was given", target.name)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestChooseWorks(t *testing.T) {
	o := options{short: true, try: &bounds{}}
	o.fill()
	works, err := o.choose()
	if err != nil || len(works) != len(shortWorks()) || o.bounds != "none" {
		t.Errorf("a short run has %d works, %v, bounds %q", len(works), err, o.bounds)
	}
	o = options{try: &bounds{}, works: "get-4k-1,get-4k-16,list-*,put-8m-4-tls", rounds: 2}
	o.fill()
	if works, err = o.choose(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range works {
		names = append(names, w.name())
		if w.rounds != 2 {
			t.Errorf("%s has %d rounds", w.name(), w.rounds)
		}
	}
	if want := []string{"get-4k-1", "get-4k-16", "list-16", "list-1", "list-cold-1", "put-8m-4-tls"}; !slices.Equal(names, want) {
		t.Errorf("works %v, want %v", names, want)
	}
	for _, bad := range []string{"no-such", "[", "put-65m-1", "put-0k-1", "range-1m-1", "get-4k-0", "get-4k-16,"} {
		o.works = bad
		if works, err := o.choose(); err == nil {
			t.Errorf("%q chose %d works", bad, len(works))
		}
	}
	if _, err := chooseKinds("proxy,no-such"); err == nil {
		t.Error("a target that does not exist was taken")
	}
}

// Names are what users write: no two works have one.
func TestWorkNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range fullWorks() {
		if seen[w.name()] {
			t.Errorf("%s twice", w.name())
		}
		seen[w.name()] = true
		found, err := workNamed(w.name())
		if found.rounds = w.rounds; err != nil || found != w {
			t.Errorf("workNamed(%s) = %+v, %v", w.name(), found, err)
		}
	}
}

func TestParseMallocs(t *testing.T) {
	const text = "# TYPE go_memstats_mallocs_total counter\ngo_memstats_mallocs_total 1.25e+06\n"
	if got := parseMallocs(strings.NewReader(text)); got != 1.25e6 {
		t.Errorf("%v", got)
	}
	if got := parseMallocs(strings.NewReader("go_memstats_mallocs_total x\n")); got != -1 {
		t.Errorf("%v", got)
	}
}

// A server that refuses some connections is an error, not a run that never ends.
func TestAClientThatCannotConnectEndsTheRound(t *testing.T) {
	w := work{op: "put", size: kib, clients: 4, slot: time.Millisecond}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n == 2 {
				c.Close()
				continue
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	_, err = w.measure(t.Context(), &target{name: "refusing", bucket: "b", front: &server{addr: l.Addr().String()}})
	if err == nil || !strings.Contains(err.Error(), "put-1k-4 at refusing") {
		t.Errorf("%v", err)
	}
}
