package clock

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestTimeOfThisGoIsChanged(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "src", "time", "time.go")) //nolint:staticcheck // of the Go that runs the test
	if err != nil {
		t.Skipf("skipped: Go's own source is not here: %v", err)
	}
	changed, err := wrong(string(source))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "time.go", changed, parser.AllErrors); err != nil {
		t.Error(err)
	}
}

func TestUnknownTimeIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := wrong("package time\n\nimport (\n)\n\nfunc Now() Time { return other() }\n"); !errors.Is(err, ErrOtherGo) {
		t.Errorf("the error is %v", err)
	}
}
