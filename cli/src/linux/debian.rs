//! Single files out of Debian's packages for arm64, on a machine of any architecture.
//!
//! APT does the work, with a state of its own in our cache: nothing is installed, no root is needed,
//! and signatures are checked with Debian's keyring as for any other package.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{Command, End};
use crate::tools::DEBIAN_KEYRING;

/// The release whose packages are taken.
const RELEASE: &str = "trixie";

/// Where packages come from if this machine's APT knows no nearer place.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Time for a download, on a slow line.
const LIMIT: Duration = Duration::from_secs(900);

/// A package cannot be had now: no network, or a mirror without it.
#[derive(Debug)]
pub(super) struct Unavailable {
    package: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Debian's package {} for arm64 cannot be fetched (without a network, `cargo seaworthy \
             linux` takes files of yours: --kernel and --initrd)",
            self.package
        )
    }
}

/// Our cache of unpacked files, with the APT that fills it.
pub(super) struct Debian {
    cache: PathBuf,
}

/// Files of a package.
pub(super) struct Package {
    /// The folder that holds them.
    pub(super) folder: PathBuf,
    /// Whether they have only now been fetched.
    pub(super) is_new: bool,
}

impl Debian {
    /// The cache in `$XDG_CACHE_HOME/seaworthy` or `~/.cache/seaworthy`.
    ///
    /// # Errors
    ///
    /// If neither is known.
    pub(super) fn find() -> Result<Self> {
        let absolute = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let cache = absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .context("neither HOME nor XDG_CACHE_HOME says where downloads could be kept")?;
        Ok(Self {
            cache: cache.join("seaworthy").join("debian"),
        })
    }

    /// Gets those files of a package that are `wanted` by name, from the cache if they are there.
    ///
    /// If the package has a dependency whose name starts with `real`, that one is taken in its
    /// place: kernels hide behind a package that always names the newest.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] in the error's context if APT cannot get it; or if a folder cannot be
    /// written.
    pub(super) fn fetch(
        &self,
        package: &str,
        real: Option<&str>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Package> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot make {}", self.cache.display()))?;
        let lock = self.cache.join("lock");
        // Held until this function ends.
        let lock =
            File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
        lock.lock().context("cannot lock the cache")?;
        let folder = self.cache.join(package);
        if folder.is_dir() {
            return Ok(Package {
                folder,
                is_new: false,
            });
        }
        println!(
            "Fetching {package} of Debian {RELEASE} to {}",
            folder.display()
        );
        let partial = self.cache.join(format!("{package}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        let unpacked = partial.join("unpacked");
        fs::create_dir_all(&unpacked)?;
        let archive = self
            .download(package, real, &partial)
            .with_context(|| Unavailable {
                package: package.to_owned(),
            })?;
        run(&Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive.to_string_lossy())
            .arg(unpacked.to_string_lossy()))?;
        let chosen = partial.join("chosen");
        fs::create_dir(&chosen)?;
        move_files(&unpacked, &chosen, &wanted)?;
        fs::rename(&chosen, &folder)?;
        fs::remove_dir_all(&partial)?;
        Ok(Package {
            folder,
            is_new: true,
        })
    }

    /// Downloads a package's archive into `folder`.
    fn download(&self, package: &str, real: Option<&str>, folder: &Path) -> Result<PathBuf> {
        let apt = Apt::prepare(&self.cache.join("apt"))?;
        match real {
            Some(prefix) => apt.download(&apt.dependency(package, prefix)?, folder),
            None => apt.download(package, folder),
        }
    }
}

/// APT with a state of its own.
struct Apt {
    configuration: PathBuf,
}

impl Apt {
    /// Writes its configuration and gets the list of packages.
    fn prepare(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let (keyring, mirror) = (DEBIAN_KEYRING.path, mirror());
        let sources = format!("deb [signed-by={keyring}] {mirror} {RELEASE} main\n");
        fs::write(folder.join("sources.list"), sources)?;
        // Nothing is installed as far as this APT knows.
        fs::write(folder.join("status"), "")?;
        let configuration = folder.join("apt.conf");
        fs::write(&configuration, configuration_in(folder))?;
        let apt = Self { configuration };
        run(&apt.command("apt-get").arg("update"))?;
        Ok(apt)
    }

    /// A command of APT. Its configuration is read after the machine's own, which may name a proxy.
    fn command(&self, program: &str) -> Command {
        Command::new(program).arg(format!("--config-file={}", self.configuration.display()))
    }

    /// The dependency of `package` whose name starts with `prefix`.
    fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let output = self
            .command("apt-cache")
            .args(["depends", package])
            .capture()?;
        output
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .with_context(|| format!("{package} depends on no {prefix}*:\n{output}"))
    }

    /// Downloads a package into `folder`, after its signature has been checked.
    fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        run(&self
            .command("apt-get")
            .args(["download", package])
            .directory(folder))?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                return Ok(path);
            }
        }
        bail!("APT has downloaded no {package} to {}", folder.display())
    }
}

fn configuration_in(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"APT::Architecture "arm64";
#clear APT::Architectures;
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}";
"#
    )
}

/// Where this machine gets Debian's packages from, if it is a Debian machine.
fn mirror() -> String {
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .args(["Created-By: Packages", "Origin: Debian"])
        .capture()
        .unwrap_or_default();
    // The archive for security fixes has another layout.
    let ours = |address: &&str| address.trim_end_matches('/').ends_with("/debian");
    targets
        .lines()
        .find(ours)
        .unwrap_or(MIRROR)
        .trim_end_matches('/')
        .to_owned()
}

/// Moves files that are wanted from anywhere under `from` to `to`.
fn move_files(from: &Path, to: &Path, wanted: &impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        if kind.is_dir() {
            move_files(&entry.path(), to, wanted)?;
        } else if kind.is_file() && name.to_str().is_some_and(wanted) {
            fs::rename(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn run(command: &Command) -> Result<()> {
    println!("$ {command}");
    match command.stream(LIMIT, |line| println!("{line}"))? {
        End::Exited(status) => {
            ensure!(status.success(), "`{command}` failed ({status})");
            Ok(())
        }
        End::TimedOut => bail!("`{command}` took over {} s", LIMIT.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_files_are_moved_from_all_folders_and_nothing_else() {
        let folder = env::temp_dir().join(format!("seaworthy-debian-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("boot")).unwrap();
        fs::create_dir_all(from.join("usr/lib/modules")).unwrap();
        fs::create_dir_all(&to).unwrap();
        for file in [
            "boot/vmlinuz-1",
            "boot/System.map-1",
            "usr/lib/modules/einj.ko.xz",
        ] {
            fs::write(from.join(file), file).unwrap();
        }
        let wanted = |name: &str| name.starts_with("vmlinuz") || name.starts_with("einj.ko");
        move_files(&from, &to, &wanted).unwrap();
        let mut names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["einj.ko.xz", "vmlinuz-1"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn apt_keeps_to_its_own_folder_and_checks_signatures() {
        let text = configuration_in(Path::new("/cache/apt"));
        for line in [
            r#"Dir::State::lists "/cache/apt/lists";"#,
            r#"Dir::Cache "/cache/apt";"#,
            r#"Acquire::AllowInsecureRepositories "false";"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
