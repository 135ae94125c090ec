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
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
)

// openAudit opens the audit log that c describes, if it does, and sets it in o. It has it
// signed as soon as there is a key, begins a new file where somebody has moved the former
// when the process gets a SIGHUP, and registers its metrics. stop is called before the key
// service ends.
func openAudit(a *cli.App, c *config.Config, files *certs.Watcher, keys *build.Keys, o *proxy.Options, log *slog.Logger) (stop func(), err error) {
	l, err := build.OpenAudit(a, c, files, log)
	if err != nil || l == nil {
		rememberRefusals(c, o)
		return func() {}, err
	}
	o.Audit, keys.Audit = l, l
	rememberRefusals(c, o)
	if o.Metrics != nil {
		o.Metrics.MustRegister(auditMetrics(l)...)
	}
	return tendAudit(l, keys, lifecycle.SystemKey, c.Deployment, log), nil
}

// openKMSAudit is openAudit for a key server alone. The log's key is sealed under a KMS key of
// its own.
func openKMSAudit(c *kmsconfig.Config, keys kms.Service, log *slog.Logger) (l *build.Audit, stop func(), err error) {
	l, err = build.OpenKMSAudit(c, log)
	if err != nil || l == nil {
		return nil, func() {}, err
	}
	if err := server.CreateKeys(context.Background(), keys, []string{build.AuditKey}); err != nil {
		log.Warn("the audit log's key cannot be created yet", "key", build.AuditKey, "error", err)
	}
	return l, tendAudit(l, keys, build.AuditKey, "default", log), nil
}

// tendAudit does what openAudit says, with a key that is sealed under kmsKey.
func tendAudit(l *build.Audit, keys kms.Service, kmsKey, deployment string, log *slog.Logger) (stop func()) {
	hup, stopHangups := hangups()
	ctx, end := context.WithCancel(context.Background())
	go keyuse.Sign(ctx, l.Log, keys, kmsKey, deployment, l.Sealed, log)
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
	return []prometheus.Collector{
		counter("bucketseal_audit_lines_total", "Audit lines written.", func(c audit.Counts) uint64 { return c.Lines }),
		counter("bucketseal_audit_lost_total", "Audit events that have no line anywhere.", func(c audit.Counts) uint64 { return c.Lost }),
		counter("bucketseal_audit_missed_total", "Audit lines that a sink did not take, counted for each sink.", func(c audit.Counts) uint64 { return c.Missed }),
		counter("bucketseal_audit_refused_total", "Requests that were refused because their audit line was not durable.", func(c audit.Counts) uint64 { return c.Refused }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bucketseal_audit_webhook_queue_bytes", Help: "Bytes of audit lines that wait for the webhook.",
		}, func() float64 {
			if l.Webhook == nil {
				return 0
			}
			return float64(l.Webhook.Waiting())
		}),
	}
}
