package adminapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/intake"
)

// CountedKeys is the key service with its calls counted, as MinIO counts those
// of its KMS: done, refused, failed, and how long they took.
type CountedKeys struct {
	kms.Service
	done, refused, failed atomic.Uint64
	took                  [len(keyCallBounds)]atomic.Uint64
}

// keyCallBounds are the upper bounds of MinIO's histogram of its KMS.
var keyCallBounds = [...]time.Duration{
	10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 1500 * time.Millisecond, 3 * time.Second, 5 * time.Second, 10 * time.Second,
}

func (c *CountedKeys) count(began time.Time, err error) {
	switch {
	case err == nil:
		c.done.Add(1)
	case errors.Is(err, kms.ErrUnavailable), errors.Is(err, kms.ErrCorruptKey):
		c.failed.Add(1)
	default:
		c.refused.Add(1)
	}
	took := time.Since(began)
	for i, bound := range keyCallBounds {
		if took <= bound {
			c.took[i].Add(1)
			return
		}
	}
}

// CreateKey implements kms.Service.
func (c *CountedKeys) CreateKey(ctx context.Context, name string) error {
	began := time.Now()
	err := c.Service.CreateKey(ctx, name)
	c.count(began, err)
	return err
}

// ListKeys implements kms.Service.
func (c *CountedKeys) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	began := time.Now()
	names, err := c.Service.ListKeys(ctx, prefix)
	c.count(began, err)
	return names, err
}

// GenerateDEK implements kms.Service.
func (c *CountedKeys) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	began := time.Now()
	dek, err := c.Service.GenerateDEK(ctx, name, encContext)
	c.count(began, err)
	return dek, err
}

// DecryptDEK implements kms.Service.
func (c *CountedKeys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	began := time.Now()
	dek, err := c.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	c.count(began, err)
	return dek, err
}

// keyMetrics are the counts as MinIO shows them: of the histogram each number
// includes those before it.
type keyMetrics struct {
	Done    uint64            `json:"kms_req_success"`
	Refused uint64            `json:"kms_req_error"`
	Failed  uint64            `json:"kms_req_failure"`
	Took    map[string]uint64 `json:"kms_resp_time"` // by nanoseconds
}

func (c *CountedKeys) metrics() keyMetrics {
	m := keyMetrics{Done: c.done.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(), Took: make(map[string]uint64, len(keyCallBounds))}
	var sum uint64
	for i, bound := range keyCallBounds {
		sum += c.took[i].Load()
		m.Took[strconv.FormatInt(bound.Nanoseconds(), 10)] = sum
	}
	return m
}

// kmsMetrics counts what this proxy asked of the key service.
func (a *API) kmsMetrics(w http.ResponseWriter, r *intake.Request) error {
	if err := a.keyAdministrator(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.o.Counted.metrics())
}
