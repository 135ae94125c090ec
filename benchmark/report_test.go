package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// testResult has two works over all targets, with names that XML must escape.
func testResult() *result {
	var targets []*target
	back := &server{}
	for _, k := range kinds[:7] {
		t := &target{name: k.name}
		if strings.HasPrefix(k.name, "proxy") || strings.HasPrefix(k.name, "seal") {
			t.back = back
		}
		targets = append(targets, t)
	}
	r := &result{Floor: floor{0.2, 1.3}}
	for _, w := range []work{{op: "put", size: mib, clients: 16}, {op: "get", size: 4 * kib, clients: 16, secure: false}} {
		samples := make([][]sample, len(targets))
		for i := range targets {
			for round := range 3 {
				samples[i] = append(samples[i], sample{Ops: 100 + i*10 + round, Seconds: 1, FrontCPU: float64(i + 1), BackCPU: 1, latencies: []time.Duration{time.Millisecond}})
			}
		}
		row := newRow(w, targets, samples)
		row.Title += " <&\">"
		row.Cells[1].Upstream = &upstreamCost{1, 1.5}
		r.Rows = append(r.Rows, row)
	}
	r.Goals = judge(r.Rows, r.Floor)
	r.Bounds = []verdict{{"idle", "seal-s3", "<= 150 MiB", "151 MiB", false}}
	return r
}

func TestChartIsWellFormed(t *testing.T) {
	for _, r := range []*result{{}, testResult()} {
		var b bytes.Buffer
		r.chart(&b)
		bars := 0
		for d := xml.NewDecoder(&b); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
				bars++
			}
		}
		// Background; of five series each in the legend and in each row.
		if want := 1 + len(r.Rows)*5 + 5*min(1, len(r.Rows)); bars != want {
			t.Errorf("%d rectangles, want %d", bars, want)
		}
	}
}

func TestMarkdownTablesHaveEqualColumns(t *testing.T) {
	var b strings.Builder
	testResult().markdown(&b)
	columns, lines := 0, 0
	for line := range strings.SplitSeq(b.String(), "\n") {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		lines++
		if n := strings.Count(line, "|"); columns == 0 {
			columns = n
		} else if n != columns {
			t.Errorf("%d bars in a table of %d: %s", n, columns, line)
		}
	}
	if lines < 20 || !strings.Contains(b.String(), "| idle | seal-s3 | ≤ 150 MiB | 151 MiB | not met |") {
		t.Errorf("%d lines:\n%s", lines, b.String())
	}
}

func TestIntoPageReplacesWhatStandsBetweenTheMarks(t *testing.T) {
	page := "head\n" + pageBegin + "old\n" + pageEnd + "tail\n"
	for range 2 {
		got, err := intoPage([]byte(page), []byte("new\n"))
		if err != nil || string(got) != "head\n"+pageBegin+"new\n"+pageEnd+"tail\n" {
			t.Fatalf("%q, %v", got, err)
		}
		page = string(got)
	}
	for _, bad := range []string{"", pageBegin, pageEnd, pageEnd + pageBegin} {
		if got, err := intoPage([]byte(bad), nil); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestGoalsAreJudgedByTheirMedian(t *testing.T) {
	ratio := func(v float64) map[string]spread { return map[string]spread{"proxy": {0.1, v, 9}} }
	r := &row{Name: "w", Title: "W", Cells: []*cell{
		{Target: "proxy", PerGiB: 1},
		{Target: "seal-s3", PerGiB: 2.4, Ratios: ratio(1), CPURatios: ratio(1.2), P50Ratios: ratio(1.1)},
	}}
	f := floor{GCM: 0.25, MD5: 1.25}
	for _, c := range []struct {
		goal goal
		met  bool
	}{
		{goal{figure: "rate", to: "proxy", limit: 1}, true},
		{goal{figure: "rate", to: "proxy", limit: 1.01}, false},
		{goal{figure: "cpu", to: "proxy", limit: 1.2}, true},
		{goal{figure: "cpu", to: "proxy", limit: 1.19}, false},
		{goal{figure: "p50", to: "proxy", limit: 1.1}, true},
		{goal{figure: "p50", to: "proxy", limit: 1}, false},
		{goal{figure: "perGiB", gcm: true, md5: true}, true},
		{goal{figure: "perGiB", gcm: true}, false},
		{goal{figure: "perGiB", limit: 1.5}, true},
	} {
		c.goal.target = "seal-s3"
		v, ok := c.goal.judge(r, f)
		if !ok || v.Met != c.met {
			t.Errorf("%+v: %+v, %v", c.goal, v, ok)
		}
	}
	for _, g := range []goal{{target: "seal-kms", figure: "rate", to: "proxy"}, {target: "seal-s3", figure: "rate", to: "self-s3"}} {
		if v, ok := g.judge(r, f); ok {
			t.Errorf("%+v: judged %+v without figures", g, v)
		}
	}
}

// A goal that names no work of the full run would never be judged.
func TestEveryGoalIsOfAWorkAndATarget(t *testing.T) {
	for _, g := range goals {
		if !slices.ContainsFunc(fullWorks(), func(w work) bool { return w.name() == g.work }) {
			t.Errorf("%+v: no such work", g)
		}
		for _, name := range []string{g.target, g.to} {
			if name == "" {
				continue
			}
			if _, err := chooseKinds(name); err != nil {
				t.Errorf("%+v: %v", g, err)
			}
		}
	}
}

func TestFloorIsMeasured(t *testing.T) {
	f := measureFloor()
	for _, v := range []float64{f.GCM, f.MD5} {
		if v <= 0.01 || v > 60 || math.IsNaN(v) {
			t.Errorf("%+v", f)
		}
	}
}
