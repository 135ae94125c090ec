package keycmd

import (
	"context"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// forgetful is a store that loses part of what it is given.
type forgetful struct{ kms.Store }

func (f forgetful) Create(ctx context.Context, name string, value []byte) error {
	return f.Store.Create(ctx, name, value[:len(value)-1])
}

func TestMigrateNoticesWhatTheTargetDoesNotKeep(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	from, to := mem.New(), mem.New()
	local, err := kms.NewLocal(kms.LocalOptions{Store: from})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if err := local.CreateKey(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := copyKey(ctx, from, forgetful{to}, "k"); err == nil || !strings.Contains(err.Error(), "not what was written") {
		t.Errorf("%v", err)
	}
	if _, err := copyKey(ctx, from, to, "k"); err == nil || !strings.Contains(err.Error(), "another key of that name") {
		t.Errorf("%v", err)
	}
}

func TestTheProgressBarGrowsToItsEnd(t *testing.T) {
	t.Parallel()
	p := newProgress(nil, 3)
	var lines []string
	for range 3 {
		p.step()
		lines = append(lines, p.line())
	}
	if !strings.HasSuffix(lines[0], "] 1/3 keys") || strings.Contains(lines[2], " ]") || strings.Count(lines[2], "=") != 40 {
		t.Errorf("%q", lines)
	}
}
