package serve

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Metrics of others that the dashboard and the alerts use.
var foreign = []string{"up", "ALERTS", "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes"}

var metricName = regexp.MustCompile(`\b(bucketseal_[a-z0-9_]+|kes_[a-z0-9_]+|go_[a-z0-9_]+|process_[a-z0-9_]+)\b`)

// used returns the names of metrics in a text.
func used(text string) []string {
	names := metricName.FindAllString(text, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// What the dashboard and the alerts ask for is there, and what is there the dashboard shows.
func TestDashboardAndAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, name := range foreign {
		known[name] = true
	}
	for _, d := range everyMetric(t) {
		known[d.name] = true
		if d.kind == "histogram" {
			known[d.name+"_bucket"], known[d.name+"_sum"], known[d.name+"_count"] = true, true, true
		}
	}
	var shown []string
	for _, file := range []string{"dashboard.json", "rules.yml", "rules_test.yml"} {
		names := used(readObserved(t, "deploy/observability/"+file))
		if len(names) < 5 {
			t.Errorf("%s uses %q only", file, names)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s uses %s, which does not exist", file, name)
			}
		}
		if file == "dashboard.json" {
			shown = names
		}
	}
	for _, d := range everyMetric(t) {
		if !slices.Contains(shown, d.name) && !slices.Contains(shown, d.name+"_bucket") {
			t.Errorf("the dashboard does not show %s", d.name)
		}
	}
}

// The dashboard is one that Grafana can load: panels have ids of their own, and places.
func TestDashboardIsWhole(t *testing.T) {
	t.Parallel()
	var d struct {
		UID    string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(readObserved(t, "deploy/observability/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]bool)
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
	}
	if d.UID == "" || len(d.Panels) < 20 {
		t.Errorf("%d panels of %q", len(d.Panels), d.UID)
	}
}

// Each alert has a section of the runbook, which says what it is, why it matters, and what
// to type; and no section is of no alert.
func TestEachAlertHasARunbook(t *testing.T) {
	t.Parallel()
	runbook := readObserved(t, "docs/runbook.md")
	sections := make(map[string]string)
	for part := range strings.SplitSeq(runbook, "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		if strings.HasPrefix(title, "Bucketseal") {
			sections[title] = text
		}
	}
	for _, rule := range alerts(t) {
		text, ok := sections[rule.name]
		delete(sections, rule.name)
		for _, part := range []string{"**What.**", "**Why.**", "**Type.**", "```"} {
			if ok && !strings.Contains(text, part) {
				t.Errorf("docs/runbook.md does not say %s of %s", part, rule.name)
			}
		}
		want := "https://github.com/bucketseal/bucketseal/blob/main/docs/runbook.md#" + strings.ToLower(rule.name)
		if !ok || rule.runbook != want {
			t.Errorf("%s: in the runbook: %v; link %s, want %s", rule.name, ok, rule.runbook, want)
		}
	}
	for title := range sections {
		t.Errorf("docs/runbook.md has %s, which no rule is", title)
	}
}

type alert struct{ name, runbook string }

// alerts reads names and links of the rules.
func alerts(t *testing.T) (all []alert) {
	t.Helper()
	root, err := yamlfile.NewSource([]byte(readObserved(t, "deploy/observability/rules.yml"))).Parse(yamlfile.Plain)
	if err != nil {
		t.Fatal(err)
	}
	field := func(n *yamlfile.Node, name string) *yamlfile.Node {
		for _, f := range n.Fields {
			if f.Key.Text == name {
				return f.Value
			}
		}
		t.Fatalf("line %d has no %s", n.Line, name)
		return nil
	}
	for _, group := range field(root, "groups").Items {
		for _, rule := range field(group, "rules").Items {
			all = append(all, alert{field(rule, "alert").Text, field(field(rule, "annotations"), "runbook_url").Text})
		}
	}
	if len(all) < 15 {
		t.Errorf("%d alerts", len(all))
	}
	return all
}

// Prometheus takes the rules, and they fire when they should.
func TestPromtoolTakesTheRules(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath(cmp.Or(os.Getenv("PROMTOOL_BIN"), "promtool"))
	if err != nil {
		t.Skip("there is no promtool (Debian package prometheus), or PROMTOOL_BIN does not name it")
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = repository("deploy/observability")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func readObserved(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(repository(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
