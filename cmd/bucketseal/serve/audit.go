package serve

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/keyuse"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
)

// openAudit opens the audit log that c describes, if it does, and sets it in o. It has it
// signed as soon as there is a key, begins a new file where somebody has moved the former
// when the process gets a SIGHUP, and registers its metrics. stop is called before the key
// service ends.
func openAudit(a *cli.App, c *config.Config, files *certs.Watcher, keys kms.Service, o *proxy.Options, log *slog.Logger) (stop func(), err error) {
	l, err := build.OpenAudit(a, c, files, log)
	if err != nil || l == nil {
		return func() {}, err
	}
	o.Audit = l
	return tendAudit(l, c, keys, o.Metrics, log), nil
}

func tendAudit(l *build.Audit, c *config.Config, keys kms.Service, registry prometheus.Registerer, log *slog.Logger) (stop func()) {
	registry.MustRegister(auditMetrics(l)...)
	hup, stopHangups := hangups()
	ctx, end := context.WithCancel(context.Background())
	go keyuse.Sign(ctx, l.Log, keys, lifecycle.SystemKey, c.Deployment, l.Sealed, log)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				l.Reopen()
			}
		}
	}()
	return func() {
		end()
		stopHangups()
		if err := l.Close(); err != nil {
			log.Error("the audit log was not closed as it should be", "error", err)
		}
	}
}

func auditMetrics(l *build.Audit) []prometheus.Collector {
	counter := func(name, help string, of func(audit.Counts) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(of(l.Counts())) })
	}
	all := []prometheus.Collector{
		counter("bucketseal_audit_lines_total", "Audit lines written.", func(c audit.Counts) uint64 { return c.Lines }),
		counter("bucketseal_audit_lost_total", "Audit events that have no line anywhere.", func(c audit.Counts) uint64 { return c.Lost }),
		counter("bucketseal_audit_missed_total", "Audit lines that a sink did not take, counted for each sink.", func(c audit.Counts) uint64 { return c.Missed }),
		counter("bucketseal_audit_refused_total", "Requests that were refused because their audit line was not durable.", func(c audit.Counts) uint64 { return c.Refused }),
	}
	if l.Webhook != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bucketseal_audit_webhook_queue_bytes", Help: "Bytes of audit lines that wait for the webhook.",
		}, func() float64 { return float64(l.Webhook.Waiting()) }))
	}
	return all
}
