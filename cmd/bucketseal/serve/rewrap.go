package serve

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
)

// auditRewrap writes one line for each key that a batch job sealed anew, or could not: to the
// audit log if there is one, and what could not be done to the log of the server. Without an audit
// log all go there.
func auditRewrap(account intake.Auditor, log *slog.Logger) func(maintenance.Rewrapped) {
	return func(r maintenance.Rewrapped) {
		if account != nil {
			account.Note(rewrapEvent(&r))
			if r.Err == nil {
				return
			}
		}
		level, text := slog.LevelInfo, "key sealed anew"
		attrs := []slog.Attr{
			slog.String("bucket", r.Name.Bucket), slog.String("key", r.Name.Key), slog.String("version", r.Version),
			slog.String("mode", r.Mode.String()), slog.Bool("system", r.System),
			slog.String("from_kms_key", r.FromKey), slog.Uint64("from_kms_key_version", uint64(r.FromVersion)),
			slog.String("to_kms_key", r.ToKey), slog.Uint64("to_kms_key_version", uint64(r.ToVersion)),
		}
		if r.Upload != "" {
			attrs = append(attrs, slog.String("upload", r.Upload))
		}
		if r.Err != nil {
			level, text = slog.LevelWarn, "key not sealed anew"
			attrs = append(attrs, slog.String("error", r.Err.Error()))
		}
		log.LogAttrs(context.Background(), level, text, attrs...)
	}
}

// rewrapEvent is one key that was sealed anew, or could not be.
func rewrapEvent(r *maintenance.Rewrapped) *audit.Event {
	e := &audit.Event{
		Kind: audit.Act, Operation: "Rewrap", Bucket: r.Name.Bucket, Object: r.Name.Key, Version: r.Version, SSE: r.Mode.String(),
		KMSKey: r.ToKey, KMSVersion: r.ToVersion, Outcome: audit.OK, Took: -1,
		Reason: fmt.Sprintf("was under version %d of %q", r.FromVersion, r.FromKey),
	}
	if r.Upload != "" {
		e.Reason += ", upload " + r.Upload
	}
	if r.Err != nil {
		e.Outcome, e.Reason = audit.Failed, e.Reason+": "+r.Err.Error()
	}
	return e
}
