package register_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/register"
)

func TestOnlyTurnsAreLogged(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	observe := register.LogTurns(slog.New(slog.NewTextHandler(&b, nil)), "it is away", "it is back")
	away := errors.New("no route")
	for _, err := range []error{nil, away, away, away, nil, nil, away} {
		observe(err)
	}
	said := b.String()
	if strings.Count(said, "it is away") != 2 || strings.Count(said, "it is back") != 1 || strings.Count(said, "\n") != 3 || !strings.Contains(said, "no route") {
		t.Errorf("the log is\n%s", said)
	}
}
