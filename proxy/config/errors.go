package config

import (
	"errors"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Sentinels.
var (
	// ErrInvalid says that the configuration cannot be used as it is. The error
	// is then a yamlfile.Problems, which lists everything that is wrong.
	ErrInvalid = yamlfile.ErrInvalid
	// ErrUnreadable says that the configuration file cannot be read.
	ErrUnreadable = errors.New("cannot read the configuration")
)
