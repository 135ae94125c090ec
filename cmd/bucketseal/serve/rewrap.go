package serve

import (
	"context"
	"log/slog"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
)

// auditRewrap writes one line for each key that a batch job sealed anew, or could not.
func auditRewrap(log *slog.Logger) func(maintenance.Rewrapped) {
	return func(r maintenance.Rewrapped) {
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
