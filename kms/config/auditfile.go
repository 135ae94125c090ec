package config

import (
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// AuditFile is the file of an audit log, and those before it. An extension of KES's schema.
type AuditFile struct {
	// Path of the file; "" for no audit log.
	Path string
	// MaxSize in bytes, and MaxAge, are when a new file begins.
	MaxSize int64
	MaxAge  time.Duration
	// Keep is how many former files are kept, KeepFor how long; 0 is all, and for ever.
	Keep    int
	KeepFor time.Duration
}

// What a file of an audit log has if nothing else is said, and the bounds, as a proxy has them.
const (
	auditMaxSize = 100 << 20
	auditMaxAge  = 24 * time.Hour

	leastAuditSize, mostAuditSize = 64 << 10, 1 << 40
	leastAuditAge, mostAuditAge   = time.Second, 10000 * time.Hour
	mostAuditKeep                 = 1 << 20
	mostAuditKeepFor              = 100000 * time.Hour
)

// decodeAuditFile reads a path, or a mapping with the path and how long files are kept.
func decodeAuditFile(d *decoder, n *node) AuditFile {
	f := AuditFile{MaxSize: auditMaxSize, MaxAge: auditMaxAge}
	if n.Kind != yamlfile.Mapping {
		if f.Path = d.text(n); f.Path == "" {
			return AuditFile{}
		}
		return f
	}
	const what = "log.audit_file"
	d.mapping(n, what, fields{
		"path":     func(v *node) { f.Path = d.required(v, what+".path") },
		"max_size": func(v *node) { f.MaxSize = auditSize(d, v, what+".max_size") },
		"max_age":  func(v *node) { f.MaxAge = auditTime(d, v, what+".max_age", leastAuditAge, mostAuditAge) },
		"keep":     func(v *node) { f.Keep = d.integer(v, what+".keep", 0, mostAuditKeep) },
		"keep_for": func(v *node) { f.KeepFor = auditTime(d, v, what+".keep_for", 0, mostAuditKeepFor) },
	})
	d.need(n, f.Path, what+".path: name the file")
	return f
}

// auditSize reads bytes, with a unit or without: 100MiB.
func auditSize(d *decoder, n *node, what string) int64 {
	digits, unit := strings.TrimSpace(d.text(n)), int64(1)
	for i, name := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(digits, name); ok {
			digits, unit = strings.TrimSpace(rest), 1<<(10*(i+1))
			break
		}
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || number < 0 || number > mostAuditSize/unit || number*unit < leastAuditSize {
		d.errorf(n, "%s: write a size such as 100MiB, from 64KiB to 1TiB", what)
		return auditMaxSize
	}
	return number * unit
}

// auditTime reads a duration with bounds.
func auditTime(d *decoder, n *node, what string, least, most time.Duration) time.Duration {
	failed := len(d.errs)
	value := d.duration(n, what)
	if len(d.errs) == failed && (value < least || value > most) {
		d.errorf(n, "%s: write a duration from %s to %s", what, least, most)
	}
	return value
}
