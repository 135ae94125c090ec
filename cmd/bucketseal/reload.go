package main

import (
	"log/slog"

	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// followConfig lets a running server take up changes of the configuration's
// credentials and access. What cannot be used changes nothing.
func followConfig(c *config.Config, files *certs.Watcher, reload func() (*config.Config, error), server *proxy.Server, log *slog.Logger) error {
	if c.File == "" {
		return nil
	}
	current := c
	read := func() []string {
		names := []string{current.File}
		for _, one := range current.Credentials {
			if one.SecretKeyFile != "" {
				names = append(names, one.SecretKeyFile)
			}
		}
		return names
	}
	return files.Follow("configuration", read, func() error {
		fresh, err := reload()
		if err == nil {
			err = fresh.CheckServer()
		}
		if err != nil {
			return err
		}
		server.Identities().Configure(identities(fresh))
		if current.NeedsRestart(fresh) {
			log.Warn("the configuration has changed in more than credentials and access: that waits for a restart", "file", fresh.File)
		}
		current = fresh
		return nil
	})
}
