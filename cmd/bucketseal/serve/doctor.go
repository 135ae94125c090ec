package serve

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// firstLook is how long after the start the first look is taken: by then a new server is
// set up, and one that is asked for something at once is not disturbed.
const firstLook = 10 * time.Second

// examine has the surroundings looked at until ctx ends. What is found goes to the log, to
// the metrics, and to who asks.
func (r *running) examine(ctx context.Context, up *upstream.Client, keys kms.Service, tender *kms.Tender) error {
	o, err := build.DoctorOptions(r.config.Load, up, keys, nil)
	if err != nil {
		return err
	}
	if tender != nil {
		o.Overdue = tender.Overdue
	}
	o.Machine = machine
	d := doctor.New(o)
	d.Register(r.metrics.registry)
	r.doctor.Store(d)
	go d.Run(ctx, firstLook, func() time.Duration { return r.config.Load().DoctorInterval }, r.log)
	return nil
}

// pages adds what is told at metrics.address to who knows the proxy's secret.
func (r *running) pages() {
	r.metrics.also("GET "+configPath, r.proven(func(c *config.Config) any { return c.Effective(TagKey(c)) }))
	r.metrics.also("GET "+findingsPath, r.proven(func(*config.Config) any {
		if d := r.doctor.Load(); d != nil {
			return d.Last()
		}
		return nil
	}))
}
