package config

import (
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Audit says where the account of requests and key uses goes. Without a sink there is none.
type Audit struct {
	// Required says that no answer leaves before a line about it is durable.
	Required bool
	File     AuditFile
	// Stdout writes lines to the standard output too.
	Stdout bool
	// Syslog is unix:///dev/log, udp://, tcp:// or tls://HOST:PORT; "" for nowhere, and
	// SyslogCA what signs its certificate.
	Syslog, SyslogCA string
	Webhook          AuditWebhook
}

// AuditFile is a file of lines, and when the next one begins.
type AuditFile struct {
	Path    string
	MaxSize int64
	MaxAge  time.Duration
	Keep    int
	KeepFor time.Duration
}

// AuditWebhook is an HTTP server that gets lines.
type AuditWebhook struct {
	URL       string
	Token     Secret
	TokenFile string
	CA        string
	Queue     string
	QueueSize int64
}

// Enabled says whether there is a sink.
func (a *Audit) Enabled() bool {
	return a.File.Path != "" || a.Stdout || a.Syslog != "" || a.Webhook.URL != ""
}

func auditSettings() []Setting {
	return []Setting{
		{
			Path: "audit.required", Type: TypeBool, Default: "false",
			Usage: "no answer leaves before its audit line is durable, and no request is served while none can be", set: boolean(func(c *Config) *bool { return &c.Audit.Required }),
		},
		{
			Path: "audit.file.path", Type: TypeFile, Env: "BUCKETSEAL_AUDIT_FILE",
			Usage: "write audit lines to this file", set: text(func(c *Config) *string { return &c.Audit.File.Path }),
		},
		{
			Path: "audit.file.max_size", Type: TypeSize, Default: "100MiB",
			Usage: "begin a new file when it has this size", set: size(func(c *Config) *int64 { return &c.Audit.File.MaxSize }, 64<<10, 1<<40),
		},
		{
			Path: "audit.file.max_age", Type: TypeDuration, Default: "24h",
			Usage: "begin a new file when it is so old", set: duration(func(c *Config) *time.Duration { return &c.Audit.File.MaxAge }, time.Second, 10000*time.Hour),
		},
		{
			Path: "audit.file.keep", Type: TypeNumber, Default: "0",
			Usage: "keep so many former files; 0 for all", set: number(func(c *Config) *int { return &c.Audit.File.Keep }, 0, 1<<20),
		},
		{
			Path: "audit.file.keep_for", Type: TypeDuration, Default: "0s",
			Usage: "keep former files so long; 0s for ever", set: duration(func(c *Config) *time.Duration { return &c.Audit.File.KeepFor }, 0, 100000*time.Hour),
		},
		{
			Path: "audit.stdout", Type: TypeBool, Default: "false",
			Usage: "write audit lines to the standard output", set: boolean(func(c *Config) *bool { return &c.Audit.Stdout }),
		},
		{
			Path: "audit.syslog.address", Type: TypeString,
			Usage: "send audit lines to syslog: unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514", set: text(func(c *Config) *string { return &c.Audit.Syslog }, checkSyslog),
		},
		{
			Path: "audit.syslog.ca", Type: TypeFile,
			Usage: "PEM file or folder of the authorities that sign the syslog server's certificate", set: text(func(c *Config) *string { return &c.Audit.SyslogCA }),
		},
		{
			Path: "audit.webhook.url", Type: TypeString,
			Usage: "deliver audit lines to this URL by POST", set: text(func(c *Config) *string { return &c.Audit.Webhook.URL }, checkWebhook),
		},
		{
			Path: "audit.webhook.token", Type: TypeSecret,
			Usage: "bearer token for the webhook", set: secret(func(c *Config) *Secret { return &c.Audit.Webhook.Token }, notEmpty),
		},
		{
			Path: "audit.webhook.token_file", Type: TypeFile,
			Usage: "file that holds that token", set: text(func(c *Config) *string { return &c.Audit.Webhook.TokenFile }),
		},
		{
			Path: "audit.webhook.ca", Type: TypeFile,
			Usage: "PEM file or folder of the authorities that sign the webhook's certificate", set: text(func(c *Config) *string { return &c.Audit.Webhook.CA }),
		},
		{
			Path: "audit.webhook.queue", Type: TypeFile,
			Usage: "folder, of this process alone, in which lines wait for the webhook", set: text(func(c *Config) *string { return &c.Audit.Webhook.Queue }),
		},
		{
			Path: "audit.webhook.queue_size", Type: TypeSize, Default: "256MiB",
			Usage: "size of that queue; what does not fit is not delivered", set: size(func(c *Config) *int64 { return &c.Audit.Webhook.QueueSize }, 1<<20, 1<<40),
		},
	}
}

func checkWebhook(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("this is not of the form https://HOST/PATH, without a user in it")
	}
	return nil
}

func checkSyslog(v string) error {
	u, err := url.Parse(v)
	local := err == nil && u.Scheme == "unix" && u.Host == "" && len(u.Path) > 1
	remote := err == nil && slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) && u.Hostname() != "" && u.Path == "" && u.RawQuery == "" && u.User == nil
	if !local && !remote {
		return errors.New("this is not of the form unix:///dev/log, udp://HOST:514, tcp://HOST:601 or tls://HOST:6514")
	}
	return nil
}

// finishAudit checks that the audit log's settings fit together.
func (c *Config) finishAudit(errs *yamlfile.Problems) {
	a := &c.Audit
	token, err := oneSecret(c, "token", a.Webhook.Token, a.Webhook.TokenFile, notEmpty)
	if err != nil {
		errs.Add(c.originOf("audit.webhook"), "audit.webhook", "%v", err)
	}
	a.Webhook.Token = token
	switch {
	case a.Webhook.URL != "" && a.Webhook.Queue == "":
		errs.Add(c.originOf("audit.webhook.url"), "audit.webhook", "there is no queue; give a folder in which lines wait while the webhook is away")
	case a.Required && a.File.Path == "" && a.Webhook.URL == "":
		errs.Add(c.originOf("audit.required"), "audit.required", "no sink keeps lines; give audit.file.path, or audit.webhook with its queue")
	}
}
