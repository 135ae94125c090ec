package lifecycle

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// lateKeys has a key from the second look at it on.
type lateKeys struct {
	kms.Service
	looks int
}

func (k *lateKeys) DescribeKey(context.Context, string) (info kms.KeyInfo, err error) {
	if k.looks++; k.looks == 1 {
		return info, kms.ErrKeyNotFound
	}
	return info, nil
}

// again is a key service that asks whether the system bucket is set up while that is being done.
type again struct {
	kms.Service
	setup *Setup
	said  error
}

func (k *again) DescribeKey(ctx context.Context, _ string) (info kms.KeyInfo, err error) {
	k.said = k.setup.Ensure(ctx)
	return info, nil
}

// What a step of the set-up needs does not wait for the set-up.
func TestSetupDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	k := &again{said: system.ErrNotReady}
	k.setup = NewSetup(k, nil, nil, nil)
	if err := k.setup.Ensure(t.Context()); err != nil || k.said != nil {
		t.Errorf("the set-up: %v; in it: %v", err, k.said)
	}
}

func TestKeysThatCameMeanwhileAreNoStrangers(t *testing.T) {
	t.Parallel()
	_, service := serviceBefore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
		_, _ = io.WriteString(w, "rules")
	})
	s := NewSetup(&lateKeys{}, service, nil, nil)
	before := system.ErrForeign
	s.stranger.Store(&before)
	if err := s.Admit(); !errors.Is(err, system.ErrNotReady) {
		t.Errorf("strangers are admitted: %v", err)
	}
	if err := s.Foreign(t.Context()); err != nil {
		t.Errorf("keys that are there now: %v", err)
	}
	if err := s.Admit(); err != nil {
		t.Errorf("they are still strangers: %v", err)
	}
}
