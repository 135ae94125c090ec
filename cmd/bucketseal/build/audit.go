package build

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// Audit is an audit log that a configuration describes.
type Audit struct {
	*audit.Log
	// Sealed is the key that the log was signed with before, as it is sealed; nil for none.
	Sealed []byte
	// Webhook is the webhook, nil for none.
	Webhook *sink.Webhook
}

// OpenAudit opens the audit log that c describes; nil if it describes none.
func OpenAudit(a *cli.App, c *config.Config, files *certs.Watcher, log *slog.Logger) (*Audit, error) {
	if !c.Audit.Enabled() {
		return nil, nil //nolint:nilnil // there is none
	}
	built := &Audit{}
	sinks, err := built.sinks(a, &c.Audit, files, log)
	if err == nil {
		b := cli.ReadBuildInfo()
		built.Log, err = audit.New(audit.Options{
			Sinks: sinks, Required: c.Audit.Required, About: "bucketseal " + b.Version + ", deployment " + c.Deployment, Logger: log,
		})
	}
	if err != nil {
		for _, s := range sinks {
			_ = s.Close()
		}
		return nil, fmt.Errorf("audit: %w", err)
	}
	return built, nil
}

// sinks opens the sinks; those that were opened come back beside an error too.
func (b *Audit) sinks(a *cli.App, c *config.Audit, files *certs.Watcher, log *slog.Logger) (all []audit.Sink, err error) {
	if f := c.File; f.Path != "" {
		file, err := sink.OpenFile(sink.FileOptions{
			Path: f.Path, MaxSize: f.MaxSize, MaxAge: f.MaxAge, Keep: f.Keep, KeepFor: f.KeepFor,
			Warn: func(err error) { log.Warn("audit", "error", err) },
		})
		if err != nil {
			return all, err
		}
		b.Sealed = file.Tail().Sealed
		all = append(all, file)
	}
	if w := c.Webhook; w.URL != "" {
		roots, err := auditCA("audit.webhook.ca", w.CA, files)
		if err != nil {
			return all, err
		}
		if b.Webhook, err = sink.NewWebhook(sink.WebhookOptions{
			URL: w.URL, Token: w.Token.Reveal(), TLS: roots, Queue: w.Queue, QueueSize: w.QueueSize, Logger: log,
		}); err != nil {
			return all, err
		}
		all = append(all, b.Webhook)
	}
	if c.Syslog != "" {
		roots, err := auditCA("audit.syslog.ca", c.SyslogCA, files)
		if err != nil {
			return all, err
		}
		s, err := sink.Syslog(sink.SyslogOptions{Address: c.Syslog, TLS: roots})
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	if c.Stdout {
		all = append(all, sink.Writer("stdout", a.Stdout.Writer()))
	}
	return all, nil
}

// auditCA returns how a server is reached by TLS; nil for the system's authorities.
func auditCA(what, path string, files *certs.Watcher) (*tls.Config, error) {
	var roots *x509.CertPool
	if path != "" {
		pool, err := files.Pool(what, path, false)
		if err != nil {
			return nil, err
		}
		roots = pool.Get()
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}
