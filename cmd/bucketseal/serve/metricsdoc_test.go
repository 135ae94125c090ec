package serve

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/client"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/operator/otlp"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// inventory is a Registerer that remembers what was registered.
type inventory struct {
	*prometheus.Registry
	all []prometheus.Collector
}

// MustRegister implements prometheus.Registerer.
func (i *inventory) MustRegister(all ...prometheus.Collector) {
	i.all = append(i.all, all...)
	i.Registry.MustRegister(all...)
}

// documented is one metric as docs/metrics.md has it.
type documented struct{ name, kind, labels, help string }

func (d documented) row() string {
	labels := "—"
	if d.labels != "" {
		labels = "`" + strings.ReplaceAll(d.labels, ",", "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", d.name, d.kind, labels, d.help)
}

// everyMetric registers all that a proxy may have, and returns what it is.
func everyMetric(t *testing.T) []documented {
	t.Helper()
	return everything(t).list(t)
}

// everything registers all that a proxy may have.
func everything(t *testing.T) *inventory {
	t.Helper()
	r := &inventory{Registry: prometheus.NewRegistry()}
	registerProcess(r)
	endpoint, _ := url.Parse("http://127.0.0.1:1")
	up, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Sources{Environ: []string{"BUCKETSEAL_ROOT_USER=root-user", "BUCKETSEAL_ROOT_PASSWORD=root-secret-0123456789"}})
	if err != nil {
		t.Fatal(err)
	}
	store := mem.New()
	keys, err := build.LocalKeys(store, "memory", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	registerCertificates(r, certs.NewWatcher(slog.New(slog.DiscardHandler)), up, keys)
	options := build.ProxyOptions(c, up, keys, slog.New(slog.DiscardHandler))
	options.Metrics = r
	options.CacheKeys = func(s kms.Service) kms.Service { return client.Cached(s, client.CacheOptions{}) }
	if _, err := proxy.New(options); err != nil {
		t.Fatal(err)
	}
	if _, err := otlp.New(otlp.Options{Endpoint: endpoint, Metrics: r, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	options.Gate.Register(r)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	edge.Listen(l, edge.Connections{}).Register(r)
	r.MustRegister(auditMetrics(&build.Audit{Log: new(audit.Log)})...)
	new(doctor.Doctor).Register(r)
	if _, err := tendKeys(t.Context(), keys, r, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return r
}

// mostOthers is how many series there may be beside those of requests, which package intake
// holds to 1,500: together, a proxy has at most 2,000.
const mostOthers = 500

func TestTheOtherSeriesAreFew(t *testing.T) {
	t.Parallel()
	families, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	const later = 25 // of certificates, of clocks, and of the first sweep
	n := later
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n += 1 + len(m.GetHistogram().GetBucket()) + 2*len(m.GetSummary().GetQuantile())
			if m.GetHistogram() != nil {
				n += 2
			}
		}
	}
	if t.Logf("%d series", n); n > mostOthers {
		t.Errorf("%d series, more than %d", n, mostOthers)
	}
}

var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// list describes what was registered of this program's own.
func (i *inventory) list(t *testing.T) []documented {
	t.Helper()
	var all []documented
	for _, c := range i.all {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			m := descText.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read %s", d)
			}
			if !strings.HasPrefix(m[1], "bucketseal_") {
				continue
			}
			var labels []string
			for part := range strings.SplitSeq(m[3], ",") {
				if name, _, ok := strings.Cut(part, "="); ok {
					labels = append(labels, name)
				}
			}
			if m[4] != "" {
				labels = append(labels, strings.Split(m[4], ",")...)
			}
			one := documented{m[1], kindOf(m[1], c), strings.Join(labels, ","), strings.ReplaceAll(m[2], `\"`, `"`)}
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b documented) int { return strings.Compare(a.name, b.name) })
	return all
}

// kindOf is a metric's type. Of gauges and counters, whose Go types do not say it, names do.
func kindOf(name string, c prometheus.Collector) string {
	if _, is := c.(*prometheus.HistogramVec); is {
		return "histogram"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

const (
	tableBegins = "<!-- The table is written by `BUCKETSEAL_WRITE_DOCS=1 go test ./cmd/bucketseal/serve -run Metric`. -->\n"
	tableEnds   = "<!-- end of the table -->\n"
)

// Every metric is documented, by its own name, type, labels and help.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	rows := []string{"| Name | Type | Labels | Meaning |", "|---|---|---|---|"}
	for _, d := range everyMetric(t) {
		rows = append(rows, d.row())
	}
	table := "\n" + strings.Join(rows, "\n") + "\n\n"
	file := repository("docs/metrics.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), tableBegins)
	is, after, ended := strings.Cut(rest, tableEnds)
	if !ok || !ended {
		t.Fatal("docs/metrics.md has no table of metrics")
	}
	if is == table {
		return
	}
	if os.Getenv("BUCKETSEAL_WRITE_DOCS") == "1" {
		if err := os.WriteFile(file, []byte(before+tableBegins+table+tableEnds+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, row := range rows {
		if !strings.Contains(is, row+"\n") {
			t.Errorf("docs/metrics.md does not have: %s", row)
		}
	}
	t.Error("docs/metrics.md is not what there is: run this test with BUCKETSEAL_WRITE_DOCS=1")
}

func repository(name string) string { return filepath.Join("..", "..", "..", filepath.FromSlash(name)) }
