package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// Outcomes of calls of the key service.
const (
	keysDone = iota
	keysRefused
	keysFailed
)

// keyCall is what is counted of one kind of call.
type keyCall struct {
	name    string
	results [keysFailed + 1]prometheus.Counter
	seconds prometheus.Observer
}

// meteredKeys is the key service itself, behind pins and caches, with its calls counted,
// timed and traced.
type meteredKeys struct {
	kms.Service
	generate, decrypt, status, create, describe, list *keyCall
}

// meterKeys counts the calls of a key service, if anybody asks: r is nil for nobody.
func meterKeys(s kms.Service, r prometheus.Registerer) kms.Service {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bucketseal_kms_calls_total", Help: "Calls of the key service that no cache answered, by call and result: done, refused, or failed for one that the service could not answer.",
	}, []string{"call", "result"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "bucketseal_kms_call_seconds", Help: "Time that calls of the key service took.",
		Buckets: []float64{.00001, .0001, .001, .003, .01, .03, .1, .3, 1, 3, 10},
	}, []string{"call"})
	if r != nil {
		r.MustRegister(calls, seconds)
	}
	call := func(name string) *keyCall {
		c := &keyCall{name: "kms " + name, seconds: seconds.WithLabelValues(name)}
		for i, result := range []string{"done", "refused", "failed"} {
			c.results[i] = calls.WithLabelValues(name, result)
		}
		return c
	}
	return &meteredKeys{
		Service: s, generate: call("GenerateDEK"), decrypt: call("DecryptDEK"), status: call("Status"), create: call("CreateKey"),
		describe: call("DescribeKey"), list: call("ListKeys"),
	}
}

// begin begins a call. What it returns ends it.
func (c *keyCall) begin(ctx context.Context) (context.Context, func(error)) {
	began := time.Now()
	ctx, span := trace.Start(ctx, c.name)
	return ctx, func(err error) {
		result := keysRefused
		switch {
		case err == nil:
			result = keysDone
		case errors.Is(err, kms.ErrUnavailable), errors.Is(err, kms.ErrCorruptKey), errors.Is(err, context.DeadlineExceeded):
			result = keysFailed
		}
		c.results[result].Inc()
		c.seconds.Observe(time.Since(began).Seconds())
		if err != nil {
			span.Fail([]string{"", "refused", "failed"}[result])
		}
		span.End()
	}
}

// CreateKey implements kms.Service.
func (k *meteredKeys) CreateKey(ctx context.Context, name string) error {
	ctx, end := k.create.begin(ctx)
	err := k.Service.CreateKey(ctx, name)
	end(err)
	return err
}

// DescribeKey implements kms.Service.
func (k *meteredKeys) DescribeKey(ctx context.Context, name string) (kms.KeyInfo, error) {
	ctx, end := k.describe.begin(ctx)
	info, err := k.Service.DescribeKey(ctx, name)
	end(err)
	return info, err
}

// ListKeys implements kms.Service.
func (k *meteredKeys) ListKeys(ctx context.Context, prefix string) ([]string, error) {
	ctx, end := k.list.begin(ctx)
	names, err := k.Service.ListKeys(ctx, prefix)
	end(err)
	return names, err
}

// GenerateDEK implements kms.Service.
func (k *meteredKeys) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	ctx, end := k.generate.begin(ctx)
	dek, err := k.Service.GenerateDEK(ctx, name, encContext)
	end(err)
	return dek, err
}

// DecryptDEK implements kms.Service.
func (k *meteredKeys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	ctx, end := k.decrypt.begin(ctx)
	dek, err := k.Service.DecryptDEK(ctx, name, ciphertext, encContext)
	end(err)
	return dek, err
}

// Status implements kms.Service.
func (k *meteredKeys) Status(ctx context.Context) (kms.State, error) {
	ctx, end := k.status.begin(ctx)
	state, err := k.Service.Status(ctx)
	end(err)
	return state, err
}
