// Registries for tests: Docker's distribution (no referrers API) and olareg (with the referrers API of OCI 1.1).
//
//	registries -kind distribution|olareg -root DIR [-cert FILE -key FILE]
//
// It listens on a free port of 127.0.0.1, prints HOST:PORT on a line, and ends when its stdin ends, so that it never
// outlives the test that started it, however that test ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/sirupsen/logrus"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("registries: ")
	kind := flag.String("kind", "distribution", "distribution or olareg")
	root := flag.String("root", "", "an empty directory")
	cert := flag.String("cert", "", "speak TLS with this certificate (PEM)")
	key := flag.String("key", "", "and this key (PEM)")
	flag.Parse()

	var handler http.Handler
	switch *kind {
	case "distribution":
		handler = distribution(*root)
	case "olareg":
		handler = olaregServer(*root)
	default:
		log.Fatalf("no registry of kind %q", *kind)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		// Whatever comes first, an end or an error: nobody is there any more.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	if *cert != "" {
		log.Fatal(server.ServeTLS(listener, *cert, *key))
	}
	log.Fatal(server.Serve(listener))
}

func distribution(root string) http.Handler {
	conf := &configuration.Configuration{
		Storage: configuration.Storage{
			"filesystem": configuration.Parameters{"rootdirectory": root},
			"delete":     configuration.Parameters{"enabled": true},
			// The sweeper of old uploads has nothing to do here.
			"maintenance": configuration.Parameters{
				"uploadpurging": map[any]any{"enabled": false},
			},
		},
	}
	// As a configuration file has it that does not speak of it.
	conf.Catalog.MaxEntries = 1000
	conf.HTTP.Secret = "not a secret: uploads end with the process"
	logrus.SetOutput(io.Discard)
	return handlers.NewApp(context.Background(), conf)
}

func olaregServer(root string) http.Handler {
	yes := true
	return olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreDir, RootDir: root},
		API:     config.ConfigAPI{DeleteEnabled: &yes, Blob: config.ConfigAPIBlob{DeleteEnabled: &yes}},
		Log:     slog.New(slog.DiscardHandler),
	})
}
