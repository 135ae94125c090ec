package aftermath

import (
	"context"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// Ends looks for processes that ended by themselves only.
func Ends(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	return ends(ctx, c, o)
}

// Leaks looks at what the proxies hold only.
func Leaks(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	return leaks(ctx, c, o)
}

// Logs looks at the logs only.
func Logs(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	return logs(ctx, c, o)
}
