// Package aftermath looks at a cluster that was under faults and has healed: what lies in the system bucket, what
// opens without any server, what the proxies hold, what their logs say.
package aftermath

import (
	"context"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// Finding is something that should not be.
type Finding struct{ Kind, Detail string }

// Options say how thorough it is.
type Options struct {
	// Dir is an empty folder for copies.
	Dir string
	// Secrets are texts that no log may hold, by what they are, in addition to the cluster's own.
	Secrets map[string]string
	// CustomerKeys are those of SSE-C objects.
	CustomerKeys [][]byte
	// Settle is how long the proxies may take until they hold no more than before.
	Settle time.Duration
	// Before is what they held before.
	Before map[string]Held
}

// Settled waits until all servers of a cluster whose faults are healed are ready, and MinIO has healed its drives.
func Settled(ctx context.Context, c *cluster.Cluster) error {
	c.Heal()
	for _, s := range c.Servers() {
		s.Start()
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	return c.HealStorage(ctx)
}

// Look returns all that it finds. Nothing may write meanwhile. An error says that it could not look.
func Look(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	var all []Finding
	for _, look := range []struct {
		what string
		look func(context.Context, *cluster.Cluster, Options) ([]Finding, error)
	}{
		{"the processes", ends},
		{"what the proxies hold", leaks},
		{"the system bucket", system},
		{"the objects without a server", offline},
		{"the logs", logs},
	} {
		began := time.Now()
		found, err := look.look(ctx, c, o)
		for _, f := range found {
			c.Logf("FOUND %s: %s", f.Kind, f.Detail)
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", look.what, err)
		}
		c.Logf("aftermath: %s: %d findings, %v", look.what, len(found), time.Since(began).Round(100*time.Millisecond))
		all = append(all, found...)
	}
	return all, nil
}

// ends are processes of the product that ended though nobody asked them to.
func ends(_ context.Context, c *cluster.Cluster, _ Options) ([]Finding, error) {
	var found []Finding
	for _, s := range append(append([]*cluster.Server(nil), c.Proxies...), c.KeyServers...) {
		for _, exit := range s.Exits() {
			found = append(found, Finding{"ended", s.Name + ": " + exit})
		}
	}
	return found, nil
}
