package edge

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestStrangersGetSoManyLines(t *testing.T) {
	t.Parallel()
	var ends []func()
	var reported []string
	l := NewLines(func(left int, most netip.Addr) { reported = append(reported, fmt.Sprint(left, " ", most)) })
	l.after = func(d time.Duration, f func()) {
		if d <= 0 || d > linesWindow {
			t.Errorf("reported after %v", d)
		}
		ends = append(ends, f)
	}
	now := time.Now()
	ask := func(addr string, times int) (allowed int) {
		for range times {
			if l.allow(clientOf(netip.MustParseAddr(addr)), now) {
				allowed++
			}
		}
		return allowed
	}
	if n := ask("192.0.2.1", 100) + ask("2001:db8::1", 40) + ask("2001:db8::2", 40); n != 120 {
		t.Errorf("%d lines of two clients", n)
	}
	many := 0
	for i := range 2000 {
		many += ask(fmt.Sprintf("10.0.%d.%d", i/250, i%250), 1)
	}
	if many != linesForAll-120 || len(l.clients) > linesForAll {
		t.Errorf("%d lines of many clients, %d remembered", many, len(l.clients))
	}
	if now = now.Add(59 * time.Second); ask("192.0.2.9", 1) != 0 {
		t.Error("a line beyond all")
	}
	if len(ends) != 1 {
		t.Fatalf("%d reports are due", len(ends))
	}
	now = now.Add(time.Second)
	ends[0]()
	if want := fmt.Sprint(40+20+2000-(linesForAll-120)+1, " 192.0.2.1"); len(reported) != 1 || reported[0] != want {
		t.Errorf("%q, want %q", reported, want)
	}
	if n := ask("192.0.2.1", 100); n != linesPerClient || len(ends) != 2 {
		t.Errorf("%d lines in the next minute, %d reports", n, len(ends))
	}
}

// A quiet minute begins anew without a report.
func TestLinesOfAnotherMinuteAreOthers(t *testing.T) {
	t.Parallel()
	l := NewLines(func(int, netip.Addr) { t.Error("nothing was left out") })
	now := time.Now()
	for range 3 {
		for range linesPerClient {
			if !l.allow(netip.Addr{}, now) {
				t.Fatal("refused")
			}
		}
		now = now.Add(linesWindow)
	}
}
