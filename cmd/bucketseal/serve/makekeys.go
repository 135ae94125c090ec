package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// begin creates the configured keys and starts what the proxy does by itself.
func begin(ctx context.Context, c *config.Config, keys *build.Keys, handler *proxy.Server, log *slog.Logger) error {
	if err := handler.CheckKeys(ctx); err != nil {
		log.Error("no keys are made and nothing is served: these are not the keys of this MinIO's data", "keys", keys.Where, "error", err)
		go makeKeysLater(ctx, 2*time.Second, handler.SetUp, func(ctx context.Context) error { return makeKeys(ctx, c, keys, log) }, log)
		return handler.Start(ctx)
	}
	if err := makeKeys(ctx, c, keys, log); err != nil {
		return err
	}
	return handler.Start(ctx)
}

// makeKeys makes the keys that the configuration lists or names.
func makeKeys(ctx context.Context, c *config.Config, keys *build.Keys, log *slog.Logger) error {
	dead, err := keys.CreateListed(ctx)
	if err != nil {
		return err
	}
	for _, name := range dead {
		log.Error("a KMS key that the configuration lists does not exist, and its name is taken", "key", name)
	}
	return createKeys(ctx, c, keys, log)
}

// makeKeysLater waits until the right keys are there, or the data of others is gone,
// and makes the configured keys then: again and again until it succeeds or ctx ends.
func makeKeysLater(ctx context.Context, pause time.Duration, setUp, makeThem func(context.Context) error, log *slog.Logger) {
	for wait := pause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if setUp(ctx) != nil {
			continue
		}
		// What one try leaves in the background ends with it, if it failed.
		try, end := context.WithCancel(ctx)
		context.AfterFunc(ctx, end)
		err := makeThem(try)
		if err == nil {
			return
		}
		end()
		log.Error("cannot make the configured keys; it is tried again", "error", err)
		wait = min(2*wait, 15*pause)
	}
}

// createKeys makes the configured keys that do not exist. A key service that
// does not answer, or has not let go of a deleted key yet, does not keep the server from
// starting: it is asked again in the background.
func createKeys(ctx context.Context, c *config.Config, keys kms.Service, log *slog.Logger) error {
	names := []string{c.DefaultKey}
	if c.SSES3.Key != c.DefaultKey {
		names = append(names, c.SSES3.Key)
	}
	for _, name := range names {
		switch err := ensureKey(ctx, keys, name, log); {
		case err == nil:
		case errors.Is(err, kms.ErrUnavailable):
			log.Error("the key service does not answer; requests get 503 until it does", "key", name, "error", err)
			go retryKey(ctx, keys, name, log)
		case errors.Is(err, kms.ErrKeyExists):
			log.Error("a KMS key does not exist, and its name is taken; nothing is written under it until that is settled", "key", name, "error", err)
			go retryKey(ctx, keys, name, log)
		default:
			return err
		}
	}
	return nil
}

// ensureKey creates a key if it does not exist. An identity that may not look at
// keys, or not create them, may be all the same one that may use them. kms.ErrKeyExists if
// the name is taken by what is left of a key.
func ensureKey(ctx context.Context, keys kms.Service, name string, log *slog.Logger) error {
	_, err := keys.DescribeKey(ctx, name)
	if !errors.Is(err, kms.ErrKeyNotFound) && !errors.Is(err, kms.ErrNotPermitted) {
		if err != nil {
			return fmt.Errorf("KMS key %q: %w", name, err)
		}
		return nil
	}
	switch err = keys.CreateKey(ctx, name); {
	case err == nil:
		log.Info("created KMS key", "key", name)
	case errors.Is(err, kms.ErrKeyExists):
		if _, dead := keys.DescribeKey(ctx, name); errors.Is(dead, kms.ErrKeyNotFound) {
			return fmt.Errorf("KMS key %q: %w, but it opens nothing; if it was deleted, \"bucketseal key rm\" removes what is left of it; if its record was lost, \"bucketseal key restore\" brings it back", name, err)
		}
	case errors.Is(err, kms.ErrNotPermitted):
		log.Warn("the key service does not let us create the KMS key; it must exist already", "key", name, "error", err)
	default:
		return fmt.Errorf("create KMS key %q: %w", name, err)
	}
	return nil
}

func retryKey(ctx context.Context, keys kms.Service, name string, log *slog.Logger) {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := ensureKey(ctx, keys, name, log)
		if err == nil {
			log.Info("the KMS key is there", "key", name)
			return
		}
		if !errors.Is(err, kms.ErrUnavailable) && !errors.Is(err, kms.ErrKeyExists) {
			log.Error("cannot create KMS key", "key", name, "error", err)
		}
	}
}
