package server

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
)

// refusing is a key service that creates no key while it is down.
type refusing struct {
	kms.Service
	down  atomic.Bool
	names []string
}

func (r *refusing) CreateKey(_ context.Context, name string) error {
	if r.down.Load() {
		return kms.ErrUnavailable
	}
	r.names = append(r.names, name)
	return nil
}

func (r *refusing) DescribeKey(context.Context, string) (kms.KeyInfo, error) {
	return kms.KeyInfo{}, nil
}

func TestListedKeysAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := new(refusing)
		service.down.Store(true)
		s := &Server{opts: Options{Now: time.Now, ErrorLog: io.Discard, AuditLog: io.Discard}, service: service, metrics: newMetrics(time.Now(), time.Now), errorHub: newHub(), auditHub: newHub(), listed: newListedKeys(service)}
		st := &state{config: new(config.Config)}
		st.errors, st.audits = s.newLoggers(config.Log{})
		s.state.Store(st)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.keepCreating(ctx)
		s.listed.want([]string{"a", "b"})
		s.listed.made("a")
		time.Sleep(time.Minute)
		synctest.Wait()
		service.down.Store(false)
		time.Sleep(listedAgain)
		synctest.Wait()
		if len(service.names) != 1 || service.names[0] != "b" {
			t.Errorf("created %q", service.names)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(service.names) != 1 {
			t.Errorf("created again: %q", service.names)
		}
	})
}
