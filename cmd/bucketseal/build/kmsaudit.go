package build

import (
	"fmt"
	"log/slog"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
)

// AuditKey is the KMS key under which the key of a key server's audit log is sealed.
const AuditKey = "bucketseal-audit"

// OpenKMSAudit opens the audit file of a key server; nil if it has none.
func OpenKMSAudit(c *kmsconfig.Config, log *slog.Logger) (*Audit, error) {
	f := c.Log.AuditFile
	if f.Path == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	file, err := sink.OpenFile(sink.FileOptions{
		Path: f.Path, MaxSize: f.MaxSize, MaxAge: f.MaxAge, Keep: f.Keep, KeepFor: f.KeepFor,
		Warn: func(err error) { log.Warn("audit", "error", err) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: log.audit_file: %w", c.Name, err)
	}
	b := cli.ReadBuildInfo()
	l, err := audit.New(audit.Options{
		Sinks: []audit.Sink{file}, Required: c.Log.AuditRequired, About: "bucketseal kms " + b.Version, Logger: log,
	})
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &Audit{Log: l, Sealed: file.Tail().Sealed}, nil
}
