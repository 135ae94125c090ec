// Package doctor looks at an installation and says what is wrong with it: at MinIO, with
// certificates, with the key store, with the configuration, and with the machine. Each
// finding says what is wrong, why that matters, and what to do. Nothing is changed.
package doctor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// Severity says how bad a finding is.
type Severity string

// Values of Severity.
const (
	// Error is something that does not work, or that will lose or show data.
	Error Severity = "error"
	// Warning is something that works now.
	Warning Severity = "warning"
)

// Finding is one thing that is wrong.
type Finding struct {
	// ID names what is wrong, as in "upstream.clock"; docs/operations.md has all of them.
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	// What says what was found here, Why why it matters, Do what to type or change.
	What string `json:"what"`
	Why  string `json:"why"`
	Do   string `json:"do"`
}

// Report is what a look has found.
type Report struct {
	Findings []Finding `json:"findings"`
	// Unknown is what could not be looked at, and why.
	Unknown []string `json:"unknown"`
}

// Errors says whether there is a finding of severity Error.
func (r *Report) Errors() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error })
}

// Options are what is looked at. Fields that are nil are left out.
type Options struct {
	// Config is the configuration in force. Required.
	Config func() *config.Config
	// Upstream is MinIO, and Service the proxy's own view of it. Required.
	Upstream *upstream.Client
	Service  *upstream.Service
	// Fit checks with trial objects what the storage keeps: upstream.ErrUnfit.
	Fit func(context.Context) error
	// Known says whether MinIO accepts a pair; UnknownPair judges its error.
	Known func(ctx context.Context, accessKey, secretKey string) error
	// Keys is the key service; KeysError why there is none.
	Keys      kms.Service
	KeysError error
	// Overdue is how many KMS keys are older than they should get.
	Overdue func() int64
	// Machine tells of the process and its machine.
	Machine func() Machine
}

// Machine is what a process has. Zero fields mean nothing.
type Machine struct {
	Memory int64 // bytes
	Limit  int64 // GOMEMLIMIT in bytes
	Files  int64 // that may be open
	Swap   bool  // the machine has swap space, and the memory is not locked
	Cores  bool  // core dumps would be written
}

// Doctor looks at an installation. It is safe for concurrent use.
type Doctor struct {
	o Options

	mu   sync.Mutex
	last *Report // nil before the first look
}

// New returns a doctor that has looked at nothing yet.
func New(o Options) *Doctor { return &Doctor{o: o} }

// lookTimeout bounds each kind of look.
const lookTimeout = 15 * time.Second

// examination is one look at everything.
type examination struct {
	*Doctor
	c      *config.Config
	report Report
	// lost says that there is no system bucket, so that rights there tell nothing.
	lost bool
}

// find notes a finding.
func (e *examination) find(id, what string) {
	for _, k := range Kinds() {
		if k.ID == id {
			e.report.Findings = append(e.report.Findings, Finding{ID: id, Severity: k.Severity, What: what, Why: k.Why, Do: k.Do})
			return
		}
	}
	panic("doctor: no such kind: " + id) // a mistake here: a test holds that there is none
}

// unknown notes what could not be looked at.
func (e *examination) unknown(what string) { e.report.Unknown = append(e.report.Unknown, what) }

// Look looks at everything. Findings come in the order of Kinds.
func (d *Doctor) Look(ctx context.Context) *Report {
	e := &examination{Doctor: d, c: d.o.Config(), report: Report{Findings: []Finding{}, Unknown: []string{}}}
	for _, look := range []func(context.Context, *examination){
		storageLook, systemLook, rightsLook, upstreamKMSLook, credentialsLook, accessLook, certificatesLook, remoteCertificatesLook, keysLook, filesLook, backupLook, machineLook,
	} {
		bounded, cancel := context.WithTimeout(ctx, lookTimeout)
		look(bounded, e)
		cancel()
	}
	order := make(map[string]int)
	for i, k := range Kinds() {
		order[k.ID] = i
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return order[a.ID] - order[b.ID] })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = &e.report
	return d.last
}

// Last returns what the last look has found, nil before the first.
func (d *Doctor) Last() *Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// Run looks again and again, and logs what is new and what is over, until ctx ends. pause
// is how long to wait before the next look; 0 looks at nothing for a while.
func (d *Doctor) Run(ctx context.Context, first time.Duration, pause func() time.Duration, log *slog.Logger) {
	const idle = time.Minute
	known := make(map[string]string)
	for wait := min(first, max(pause(), time.Second)); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if wait = pause(); wait == 0 {
			wait = idle
			continue
		}
		if report := d.Look(ctx); ctx.Err() == nil {
			known = logNew(log, known, report)
		}
	}
}

// logNew logs the difference between two looks, and returns what is known now.
func logNew(log *slog.Logger, known map[string]string, report *Report) map[string]string {
	now := make(map[string]string)
	for _, f := range report.Findings {
		if now[f.ID] != "" {
			now[f.ID] += "; "
		}
		now[f.ID] += f.What
	}
	for _, k := range Kinds() {
		what, before := now[k.ID], known[k.ID]
		level := slog.LevelWarn
		if k.Severity == Error {
			level = slog.LevelError
		}
		switch {
		case what != "" && what != before:
			log.Log(context.Background(), level, "doctor: "+what, "id", k.ID, "why", k.Why, "do", k.Do)
		case what == "" && before != "":
			log.Info("doctor: no more", "id", k.ID)
		}
	}
	return now
}

// Register adds a metric with a series for each kind: 1 while the last look found it.
func (d *Doctor) Register(r prometheus.Registerer) {
	r.MustRegister(findings{d, prometheus.NewDesc("bucketseal_findings", "1 while the last look of the doctor found this.", []string{"id", "severity"}, nil)})
}

// findings is a doctor as metrics.
type findings struct {
	doctor *Doctor
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (f findings) Describe(descs chan<- *prometheus.Desc) { descs <- f.desc }

// Collect implements prometheus.Collector.
func (f findings) Collect(metrics chan<- prometheus.Metric) {
	last := f.doctor.Last()
	for _, k := range Kinds() {
		value := 0.0
		if last != nil && slices.ContainsFunc(last.Findings, func(one Finding) bool { return one.ID == k.ID }) {
			value = 1
		}
		metrics <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, value, k.ID, string(k.Severity))
	}
}

// oneLine is an error's text in one line, of bounded length.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "..."
	}
	return text
}

// isAny says whether an error is one of these.
func isAny(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(one error) bool { return errors.Is(err, one) })
}
