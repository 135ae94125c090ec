package register

import "log/slog"

// LogTurns returns an Options.Observe that logs the first read that fails, and the first one that succeeds again: not
// each of the many that requests begin while a store is away.
func LogTurns(log *slog.Logger, failing, again string) func(error) {
	failed := false
	return func(err error) {
		switch {
		case failed == (err != nil):
			return
		case err != nil:
			log.Warn(failing, "error", err)
		default:
			log.Info(again)
		}
		failed = err != nil
	}
}
